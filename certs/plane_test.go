// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// The control plane starts with the first test that needs it, and is shared.
var (
	startPlane = sync.OnceValues(func() (*cluster.Cluster, error) {
		plane, err := cluster.Start(context.Background(), cluster.Options{})
		running = plane
		return plane, err
	})
	running *cluster.Cluster
)

func TestMain(m *testing.M) {
	code := m.Run()
	if running != nil {
		if err := running.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// How long the API server and a source may take to see and do something.
const patience, pause = 20 * time.Second, 20 * time.Millisecond

const secretName = "sallyport-certs"

// quick are periods that tests can wait for.
var quick = periods{tick: 100 * time.Millisecond, dwell: 300 * time.Millisecond, margin: time.Hour}

// An installation is a namespace and a name for webhook configurations, which
// no other test uses.
type installation struct {
	plane     *cluster.Cluster
	client    kubernetes.Interface
	namespace string
	opts      SelfSignedOptions
	// serverClock is the API server's; nil is that of the replicas.
	serverClock clock.PassiveClock
	// account is that of asServer, once it is there.
	account *rest.Config
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	plane, err := startPlane()
	require.NoError(t, err)
	unlimited := rest.CopyConfig(plane.Config)
	unlimited.QPS = -1
	i := &installation{plane: plane, client: clientFor(t, unlimited)}
	ns, err := i.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "certs-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	i.namespace = ns.Name
	i.opts = SelfSignedOptions{
		Options:   Options{DNSNames: []string{i.serverName()}, periods: quick},
		Namespace: ns.Name, Secret: secretName,
		ValidatingConfiguration: ns.Name, MutatingConfiguration: ns.Name,
	}
	t.Cleanup(func() { // they would be asked in other tests
		ctx := context.WithoutCancel(t.Context())
		api := i.client.AdmissionregistrationV1()
		_ = api.ValidatingWebhookConfigurations().Delete(ctx, i.namespace, metav1.DeleteOptions{})
		_ = api.MutatingWebhookConfigurations().Delete(ctx, i.namespace, metav1.DeleteOptions{})
	})
	return i
}

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func (i *installation) serverName() string { return "sallyport." + i.namespace + ".svc" }

// A replica is a running source.
type replica struct {
	*SelfSigned
	log  *logRecord
	stop func()
}

// start starts a replica with its own client, made from the configuration.
func (i *installation) start(t *testing.T, config *rest.Config, opts SelfSignedOptions) *replica {
	t.Helper()
	if opts.Clock != nil {
		config = withDate(config, cmp.Or[clock.PassiveClock](i.serverClock, opts.Clock))
	}
	source, err := NewSelfSigned(clientFor(t, config), opts)
	require.NoError(t, err)
	log := new(logRecord)
	ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), log.logger()))
	ended := make(chan error, 1)
	go func() { ended <- source.Start(ctx) }()
	r := &replica{SelfSigned: source, log: log, stop: sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})}
	t.Cleanup(func() {
		r.stop()
		assert.NotContains(t, log.String(), "PRIVATE KEY")
		if t.Failed() {
			t.Log(log)
		}
	})
	return r
}

// withDate returns the configuration of an API server that has the clock.
func withDate(config *rest.Config, clock clock.PassiveClock) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := rt.RoundTrip(req)
			if err == nil {
				resp.Header.Set("Date", clock.Now().UTC().Format(http.TimeFormat))
			}
			return resp, err
		})
	})
	return config
}

// startOne starts a replica as the server's service account.
func (i *installation) startOne(t *testing.T) *replica {
	t.Helper()
	return i.start(t, i.asServer(t), i.opts)
}

// configure creates both webhook configurations. A rule that matches nothing
// keeps them from being asked.
func (i *installation) configure(t *testing.T) {
	t.Helper()
	api := i.client.AdmissionregistrationV1()
	service := &admissionregistrationv1.ServiceReference{Namespace: i.namespace, Name: "sallyport", Path: new("/validate")}
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{"nothing.example.com"}, APIVersions: []string{"v1"}, Resources: []string{"nothings"}},
	}}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: i.namespace}}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: i.namespace}}
	for _, name := range []string{"one.example.com", "two.example.com"} {
		config := admissionregistrationv1.WebhookClientConfig{Service: service}
		validating.Webhooks = append(validating.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name: name, ClientConfig: config, Rules: rules, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), TimeoutSeconds: new(int32(3)),
		})
		mutating.Webhooks = append(mutating.Webhooks, admissionregistrationv1.MutatingWebhook{
			Name: name, ClientConfig: config, Rules: rules, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), TimeoutSeconds: new(int32(3)),
		})
	}
	_, err := api.ValidatingWebhookConfigurations().Create(t.Context(), validating, metav1.CreateOptions{FieldManager: "chart"})
	require.NoError(t, err)
	_, err = api.MutatingWebhookConfigurations().Create(t.Context(), mutating, metav1.CreateOptions{FieldManager: "chart"})
	require.NoError(t, err)
}

// injected returns the one bundle that all webhooks have, or an error.
func (i *installation) injected(ctx context.Context) ([]byte, error) {
	api := i.client.AdmissionregistrationV1()
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, i.namespace, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	mutating, err := api.MutatingWebhookConfigurations().Get(ctx, i.namespace, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	bundles := map[string]bool{}
	for _, w := range validating.Webhooks {
		bundles[string(w.ClientConfig.CABundle)] = true
	}
	for _, w := range mutating.Webhooks {
		bundles[string(w.ClientConfig.CABundle)] = true
	}
	if len(bundles) == 1 && !bundles[""] {
		for bundle := range bundles {
			return []byte(bundle), nil
		}
	}
	return nil, fmt.Errorf("there are %d different bundles", len(bundles))
}

// trusted fails unless a client that trusts what is injected accepts the
// replica, also if its clock is half an hour behind.
func (i *installation) trusted(ctx context.Context, r *replica) error {
	bundle, err := i.injected(ctx)
	if err != nil {
		return err
	}
	now := r.opts.Clock.Now()
	err = handshake(ctx, r, bundle, i.serverName(), now)
	errBehind := handshake(ctx, r, bundle, i.serverName(), now.Add(-30*time.Minute))
	return errors.Join(err, errBehind)
}

// settle waits until the replica is trusted and says so.
func (i *installation) settle(t *testing.T, replicas ...*replica) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) {
		for _, r := range replicas {
			assert.NoError(c, i.trusted(t.Context(), r))
			assert.True(c, r.Healthy())
			for _, target := range r.Targets() {
				assert.True(c, target.Exists && target.Injected, target)
			}
		}
	})
}

func eventually(t *testing.T, condition func(c *assert.CollectT)) {
	t.Helper()
	require.EventuallyWithT(t, condition, patience, pause)
}

func (i *installation) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
	require.NoError(t, err)
	return secret
}

// put creates the Secret, labelled as ours.
func (i *installation) put(t *testing.T, keys keyring) *corev1.Secret {
	t.Helper()
	secret, err := i.client.CoreV1().Secrets(i.namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretName, Labels: map[string]string{ownerLabel: ownerSelfSigned}},
		Type:       corev1.SecretTypeTLS, Data: keys,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return secret
}

// update changes the Secret as somebody who does not care for others.
func (i *installation) update(t *testing.T, change func(*corev1.Secret)) *corev1.Secret {
	t.Helper()
	secret := i.secret(t)
	change(secret)
	secret.ResourceVersion = ""
	secret, err := i.client.CoreV1().Secrets(i.namespace).Update(t.Context(), secret, metav1.UpdateOptions{})
	require.NoError(t, err)
	return secret
}

// A logRecord keeps what was logged.
type logRecord struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logRecord) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		fmt.Fprintln(&l.lines, prefix, args)
	}, funcr.Options{Verbosity: 1})
}

// String implements [fmt.Stringer].
func (l *logRecord) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// A gate lets requests through, or holds or refuses them.
type gate struct {
	mu   sync.Mutex
	next func(*http.Request) error
	seen []string
}

// through returns the configuration with all requests going through the gate.
func (g *gate) through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			g.mu.Lock()
			next := g.next
			g.seen = append(g.seen, req.Method+" "+req.URL.Path)
			g.mu.Unlock()
			if next != nil {
				if err := next(req); err != nil {
					return nil, err
				}
			}
			return rt.RoundTrip(req)
		})
	})
	return config
}

func (g *gate) set(next func(*http.Request) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = next
}

// writes returns the requests so far that were no reads.
func (g *gate) writes() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var writes []string
	for _, request := range g.seen {
		if !strings.HasPrefix(request, http.MethodGet+" ") {
			writes = append(writes, request)
		}
	}
	return writes
}

// count returns how often a request was made so far.
func (g *gate) count(request string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, seen := range g.seen {
		if seen == request {
			n++
		}
	}
	return n
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return rt(req) }
