// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/webhook"
)

// An incident is something that goes wrong in a server, and what the API server makes
// of it where failurePolicy is Fail and where it is Ignore.
type incident struct {
	name         string
	change       func(*testing.T, *webhook.Options)
	unsafe       bool // is what the object is that is sent
	fail, ignore verdict
	says         string
}

// TestErrors (R1): what is our fault is for failurePolicy to decide, and a verdict
// counts under both.
func TestErrors(t *testing.T) {
	incidents := []incident{
		{name: "safe", fail: allowed, ignore: allowed},
		{name: "unsafe", unsafe: true, fail: denied, ignore: denied},
		{name: "panic", change: panics, fail: failed, ignore: allowed, says: "internal error, see the log of the Sallyport server"},
		{name: "not-ready", change: notReady, fail: failed, ignore: allowed, says: "unable to handle the request"},
		{name: "no-policies", change: noPolicies, fail: failed, ignore: allowed, says: "unable to handle the request"},
		{name: "too-slow", change: tooSlow, fail: failed, ignore: allowed, says: "unable to handle the request"},
		{name: "untrusted", change: untrusted, fail: failed, ignore: allowed, says: "certificate"},
		{name: "away", change: away, fail: failed, ignore: allowed, says: "connection refused"},
	}
	for _, in := range incidents {
		for failurePolicy, want := range map[admissionregistrationv1.FailurePolicyType]verdict{
			admissionregistrationv1.Fail: in.fail, admissionregistrationv1.Ignore: in.ignore,
		} {
			t.Run(in.name+"/"+string(failurePolicy), func(t *testing.T) {
				t.Parallel()
				got, err := in.happens(t, failurePolicy)
				require.Equal(t, want, got, "%v", err)
				if want == failed {
					require.ErrorContains(t, err, in.says)
				}
			})
		}
	}
}

// happens runs a server to which it happens, and returns what becomes of a request.
func (in *incident) happens(t *testing.T, failurePolicy admissionregistrationv1.FailurePolicyType) (verdict, error) {
	t.Helper()
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "incident-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	url, ca := in.serve(t)
	register(t, client, ns.Name, url+webhook.ValidatePath, ca, failurePolicy)
	entries, err := dynamic.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	create := func(ctx context.Context, unsafe bool) error {
		_, err := entries.Resource(entriesResource).Namespace(ns.Name).Create(ctx, serviceEntry(unsafe), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	// The API server asks when it refuses what has no policy to refuse it: see register.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Error(c, client.CoreV1().RESTClient().Post().Namespace(ns.Name).Resource("configmaps").
			Param("dryRun", metav1.DryRunAll).Body(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}).Do(t.Context()).Error())
	}, time.Minute, 50*time.Millisecond)
	err = create(t.Context(), in.unsafe)
	return verdictOf(err), err
}

// serve runs the server until the test ends.
func (in *incident) serve(t *testing.T) (url string, ca []byte) {
	t.Helper()
	source, err := certs.NewInMemory(certs.Options{DNSNames: []string{"localhost"}})
	require.NoError(t, err)
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	opts := webhook.Options{Suite: suite, Certificates: source, Listener: listener, Log: logr.Discard()}
	if in.change != nil {
		in.change(t, &opts)
	}
	server, err := webhook.New(opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, net.ErrClosed) { // as of the one that is away
			assert.NoError(t, err)
		}
	})
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return "https://localhost:" + port, source.CABundle()
}

// register has the API server ask about ServiceEntries in the namespace; and refuse
// ConfigMaps as soon as it does, by a second webhook that nobody answers.
func register(t *testing.T, client *kubernetes.Clientset, ns, url string, ca []byte, failurePolicy admissionregistrationv1.FailurePolicyType) {
	t.Helper()
	hook := func(name, url, group, resource string, failurePolicy admissionregistrationv1.FailurePolicyType) admissionregistrationv1.ValidatingWebhook {
		return admissionregistrationv1.ValidatingWebhook{
			Name: name, AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &failurePolicy, TimeoutSeconds: new(int32(3)),
			SideEffects:       new(admissionregistrationv1.SideEffectClassNone),
			ClientConfig:      admissionregistrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: []string{resource}},
			}},
		}
	}
	configurations := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := configurations.Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			hook("validate.sallyport.dev", url, "networking.istio.io", "serviceentries", failurePolicy),
			hook("probe.example.com", "https://localhost:1", "", "configmaps", admissionregistrationv1.Fail),
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, configurations.Delete(context.WithoutCancel(t.Context()), ns, metav1.DeleteOptions{}))
	})
}

func panics(t *testing.T, opts *webhook.Options) {
	t.Helper()
	boom := &analysis.Rule{
		Name: "serviceentry/boom", Doc: "panic on what is fired\n\nAs no rule should.", Severity: analysis.Error,
		Run: analysis.On(func(_ *analysis.Pass, se *networkingv1.ServiceEntry) {
			if se.GenerateName == "fire-" {
				panic("boom")
			}
		}),
	}
	suite, err := analysis.NewSuite(slices.Concat(rules.All, []*analysis.Rule{boom})...)
	require.NoError(t, err)
	opts.Suite = suite
}

func notReady(_ *testing.T, opts *webhook.Options) {
	opts.Ready = map[string]func(context.Context) error{"mesh": func(context.Context) error { return errors.New("it is not read yet") }}
}

// slow are policies that take a while in the namespaces of the tests.
type slow struct {
	took time.Duration
	then *policy.Policy
}

// For implements [webhook.Policies].
func (s slow) For(namespace string) *policy.Policy {
	if namespace == "default" {
		return policy.Default() // of the server's own review
	}
	time.Sleep(s.took)
	return s.then
}

func noPolicies(_ *testing.T, opts *webhook.Options) { opts.Policies = slow{} }

func tooSlow(_ *testing.T, opts *webhook.Options) {
	opts.Policies = slow{took: 2 * time.Second, then: policy.Default()}
}

func untrusted(t *testing.T, opts *webhook.Options) {
	t.Helper()
	other, err := certs.NewInMemory(certs.Options{DNSNames: []string{"localhost"}})
	require.NoError(t, err)
	opts.Certificates = other
	_, err = other.GetCertificate(&tls.ClientHelloInfo{})
	require.NoError(t, err)
}

func away(t *testing.T, opts *webhook.Options) {
	t.Helper()
	require.NoError(t, opts.Listener.Close())
}
