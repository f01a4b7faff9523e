// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/certs"
)

// A replica is a running source with a webhook that allows everything.
type replica struct {
	*certs.CertManager
	log     *logRecord
	address string
}

// start starts a replica with its own clients, made from the configuration, whose
// writes take their time.
func (w *world) start(t *testing.T, config *rest.Config) *replica {
	t.Helper()
	config = rest.CopyConfig(config)
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method != http.MethodGet {
				time.Sleep(rand.N(300 * time.Millisecond))
			}
			return rt.RoundTrip(req)
		})
	})
	client, certManager := clients(t, config)
	source, err := certs.NewCertManager(client, certManager, w.opts)
	require.NoError(t, err)
	r := &replica{CertManager: source, log: new(logRecord)}
	ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), r.log.logger()))
	ended := make(chan error, 1)
	go func() { ended <- source.Start(ctx) }()
	server := httptest.NewUnstartedServer(http.HandlerFunc(allow))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: source.GetCertificate, NextProtos: []string{"http/1.1"}}
	server.Config.SetKeepAlivesEnabled(false) // a handshake for each call
	server.StartTLS()
	r.address = server.Listener.Addr().String()
	t.Cleanup(func() {
		server.Close()
		cancel()
		assert.NoError(t, <-ended)
		assert.NotContains(t, r.log.String(), "PRIVATE KEY")
		if t.Failed() {
			t.Log(r.log)
		}
	})
	return r
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return rt(req) }

func allow(w http.ResponseWriter, req *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(req.Body).Decode(&review); err != nil || review.Request == nil {
		http.Error(w, "want a review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	_ = json.NewEncoder(w).Encode(review)
}

// balance serves all replicas by turns, as a Service does, and returns the URL.
func balance(t *testing.T, replicas ...*replica) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go forward(t.Context(), conn, replicas[n%len(replicas)].address)
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return "https://localhost:" + port
}

func forward(ctx context.Context, from net.Conn, address string) {
	defer from.Close()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() { _, _ = io.Copy(to, from) }()
	_, _ = io.Copy(from, to)
}

// register makes the API server call the webhook for each ConfigMap of the
// namespace, and fail if that fails.
func (w *world) register(t *testing.T, url string) {
	t.Helper()
	config := admissionregistrationv1.WebhookClientConfig{URL: &url}
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
	}}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}
	api, meta := w.client.AdmissionregistrationV1(), metav1.ObjectMeta{Name: w.namespace}
	_, err := api.ValidatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: meta,
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "validate.example.com", ClientConfig: config, Rules: rules, NamespaceSelector: selector, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), FailurePolicy: new(admissionregistrationv1.Fail),
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = api.MutatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: meta,
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "mutate.example.com", ClientConfig: config, Rules: rules, NamespaceSelector: selector, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionregistrationv1.SideEffectClassNone), FailurePolicy: new(admissionregistrationv1.Fail),
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// ask makes the API server call both webhooks.
func (w *world) ask(ctx context.Context) error {
	_, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "asked-"}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// load asks without a pause, each time with a handshake for each of two webhooks, until
// the returned function is called, which fails if one answer was no.
func (w *world) load(t *testing.T) (stop func()) {
	t.Helper()
	var ended atomic.Bool
	var calls, failed atomic.Int64
	var group sync.WaitGroup
	started := time.Now()
	for range 8 {
		group.Go(func() {
			for !ended.Load() {
				calls.Add(1)
				if err := w.ask(t.Context()); !assert.NoError(t, err) {
					failed.Add(1)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		ended.Store(true)
		group.Wait()
		seconds := time.Since(started).Seconds()
		t.Logf("%.0f handshakes a second for %.0f s, %d of %d admissions failed", 2*float64(calls.Load())/seconds, seconds, failed.Load(), calls.Load())
		assert.Zero(t, failed.Load())
		assert.Greater(t, 2*float64(calls.Load()), 50*seconds, "the load was too low, even for a busy machine")
	})
	t.Cleanup(stop)
	return stop
}

// serve waits until the replicas serve what is in the Secret, and are healthy.
func (w *world) serve(t *testing.T, replicas ...*replica) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) {
		for _, r := range replicas {
			assert.NoError(c, w.served(t.Context(), r))
			assert.True(c, r.Healthy())
		}
	})
}

// served fails unless the replica serves what is in the Secret.
func (w *world) served(ctx context.Context, r *replica) error {
	secret, err := w.client.CoreV1().Secrets(w.namespace).Get(ctx, secretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	want, err := pki.DecodeX509CertificateBytes(secret.Data[corev1.TLSCertKey])
	if err != nil {
		return err
	}
	cert, err := r.GetCertificate(nil)
	if err != nil {
		return err
	}
	if !cert.Leaf.Equal(want) {
		return errors.New("it serves another certificate")
	}
	return nil
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
