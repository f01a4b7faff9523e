// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// shortLived are certificates of seconds. A CA is rotated every 17 s, a leaf
// renewed every 7 s.
var (
	shortLived = profile{caLife: 27 * time.Second, leafLife: 12 * time.Second, backdating: time.Second}
	hurried    = periods{tick: 100 * time.Millisecond, dwell: 3 * time.Second, margin: 3 * time.Second}
)

// C2: CA and leaf are rotated again and again, under calls of the API server and
// handshakes of clients that learn of a new bundle late, while replicas write
// slowly, die and start. Nobody notices.
func TestRotationUnderLoad(t *testing.T) {
	// Three rotations take 50 s, and a machine that does not keep up with the calls
	// rotates for longer.
	const rotations, enough = 3, 50 * 200
	i := newInstallation(t)
	i.opts.DNSNames = append(i.opts.DNSNames, "localhost")
	i.opts.profile, i.opts.periods = shortLived, hurried
	i.opts.profile.names = i.opts.DNSNames
	f := newFleet(t, i)
	server := deny(t, f.certificate)
	i.register(t, server, nil)
	i.asked(t)
	bundles := followBundles(t, i)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	l := &load{address: server.Listener.Addr().String(), bundles: bundles}
	const workers, perSecond = 12, 20
	for range workers {
		group.Go(func() {
			l.every(ctx, time.Second/perSecond, func(ctx context.Context) {
				l.count(&l.calls, expectVerdict(i.ask(ctx)))
			})
		})
	}
	for range 4 {
		group.Go(func() { l.every(ctx, time.Second/perSecond, l.dial) })
	}
	group.Go(func() { f.replaceReplicas(ctx, t) })
	started, cas := time.Now(), map[string]bool{}
	for len(cas) <= rotations || bundles.count() < 1+2*rotations || // with, and then without the old CA
		l.calls.Load() < enough {
		require.Less(t, time.Since(started), rotations*time.Minute)
		time.Sleep(pause)
		cas[string(i.secret(t).Data[caKey])] = true
	}
	took := time.Since(started)
	stop()
	group.Wait()
	t.Logf("%.0f calls by the API server and %.0f handshakes of others a second for %s, %d rotations, %d replicas, %d bundles",
		float64(l.calls.Load())/took.Seconds(), float64(l.dials.Load())/took.Seconds(), took.Round(time.Second), len(cas)-1, f.started, bundles.count())
	require.Empty(t, l.failures())
	require.Greater(t, l.dials.Load(), int64(enough/10), "the load was too low")
}

// A Secret that is spoiled is made anew, and meanwhile the last good certificate is
// served: nobody notices.
func TestSecretIsSpoiledUnderLoad(t *testing.T) {
	i := newInstallation(t)
	i.opts.DNSNames = append(i.opts.DNSNames, "localhost")
	i.opts.periods = defaultPeriods
	f := newFleet(t, i)
	i.register(t, deny(t, f.certificate), nil)
	i.asked(t)
	served, err := f.certificate(nil)
	require.NoError(t, err)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	l := new(load)
	for range 8 {
		group.Go(func() {
			l.every(ctx, 50*time.Millisecond, func(ctx context.Context) { l.count(&l.calls, expectVerdict(i.ask(ctx))) })
		})
	}
	spoiled := i.update(t, func(s *corev1.Secret) {
		s.Data = keyring{caCert: []byte("a"), caKey: []byte("b"), leafCert: []byte("c"), leafKey: []byte("d")}
	})
	eventually(t, func(c *assert.CollectT) {
		assert.NotEqual(c, spoiled.ResourceVersion, i.secret(t).ResourceVersion)
		bundle, err := i.injected(t.Context())
		assert.NoError(c, err)
		assert.Equal(c, string(i.secret(t).Data[caCert]), string(bundle))
	})
	time.Sleep(2 * time.Second) // of calls, until the last watch has noticed
	stop()
	group.Wait()
	require.Empty(t, l.failures())
	require.Positive(t, l.calls.Load())
	require.Len(t, bundled(t, i.secret(t).Data[caCert]), 2)
	for _, r := range f.replicas {
		still, err := r.GetCertificate(nil)
		require.NoError(t, err)
		require.Equal(t, served.Leaf, still.Leaf)
		require.True(t, r.Healthy())
	}
}

// A fleet is three replicas behind one address.
type fleet struct {
	*installation
	mu       sync.Mutex
	replicas []*replica
	started  int
}

func newFleet(t *testing.T, i *installation) *fleet {
	t.Helper()
	f := &fleet{installation: i}
	for range 3 {
		f.replicas = append(f.replicas, f.startSlow(t))
	}
	i.configureMutating(t)
	eventually(t, func(c *assert.CollectT) {
		for _, r := range f.replicas {
			assert.True(c, r.Healthy())
		}
	})
	return f
}

// startSlow starts a replica whose requests take their time, and whose watches
// are late.
func (f *fleet) startSlow(t *testing.T) *replica {
	t.Helper()
	f.started++
	config := rest.CopyConfig(f.asServer(t))
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Query().Has("watch") {
				resp, err := rt.RoundTrip(req)
				if err == nil {
					resp.Body = &slowBody{ReadCloser: resp.Body}
				}
				return resp, err
			}
			time.Sleep(rand.N(300 * time.Millisecond))
			return rt.RoundTrip(req)
		})
	})
	return f.start(t, config, f.opts)
}

// A slowBody holds back what comes.
type slowBody struct{ io.ReadCloser }

// Read implements [io.Reader].
func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	time.Sleep(rand.N(time.Second))
	return n, err
}

// certificate is that of any replica that is ready.
func (f *fleet) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range rand.Perm(len(f.replicas)) {
		if f.replicas[n].Healthy() {
			return f.replicas[n].GetCertificate(hello)
		}
	}
	return nil, errNoCertificate
}

// replaceReplicas lets one die now and then.
func (f *fleet) replaceReplicas(ctx context.Context, t *testing.T) {
	t.Helper()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2*time.Second + rand.N(4*time.Second)):
		}
		next := f.startSlow(t) //nolint:contextcheck // it outlives the load
		f.mu.Lock()
		n := rand.IntN(len(f.replicas))
		old := f.replicas[n]
		f.replicas[n] = next
		f.mu.Unlock()
		old.stop()
	}
}

// configureMutating creates a second target, which is never asked.
func (i *installation) configureMutating(t *testing.T) {
	t.Helper()
	_, err := i.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(),
		&admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: i.namespace},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name:                    "one.example.com",
				ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://localhost:1")},
				AdmissionReviewVersions: []string{"v1"},
				SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			}},
		}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// bundles are those that a webhook configuration has had, and when they were seen.
type bundleHistory struct {
	mu   sync.Mutex
	seen []bundleAt
}

type bundleAt struct {
	pool *x509.CertPool
	pem  string
	at   time.Time
}

func followBundles(t *testing.T, i *installation) *bundleHistory {
	t.Helper()
	h := &bundleHistory{}
	w, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Watch(t.Context(), byName(i.namespace))
	require.NoError(t, err)
	var group sync.WaitGroup
	group.Go(func() {
		for event := range w.ResultChan() {
			for _, bundle := range bundlesOf(event) {
				h.add(bundle)
			}
		}
	})
	t.Cleanup(func() {
		w.Stop()
		group.Wait()
	})
	eventually(t, func(c *assert.CollectT) { assert.NotZero(c, h.count()) })
	return h
}

func (h *bundleHistory) add(bundle string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if bundle == "" || len(h.seen) > 0 && h.seen[len(h.seen)-1].pem == bundle {
		return
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(bundle))
	h.seen = append(h.seen, bundleAt{pool: pool, pem: bundle, at: time.Now()})
}

func (h *bundleHistory) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.seen)
}

// at returns the bundle that was the newest at the time.
func (h *bundleHistory) at(now time.Time) *x509.CertPool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := len(h.seen) - 1; n > 0; n-- {
		if !h.seen[n].at.After(now) {
			return h.seen[n].pool
		}
	}
	return h.seen[0].pool
}

// A load counts handshakes and calls, and keeps what has failed.
type load struct {
	address      string
	bundles      *bundleHistory
	dials, calls atomic.Int64
	mu           sync.Mutex
	failed       []string
}

func (l *load) every(ctx context.Context, period time.Duration, do func(context.Context)) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do(context.WithoutCancel(ctx))
		}
	}
}

// dial is what an API server does that has noticed a new bundle late, but in time.
func (l *load) dial(ctx context.Context) {
	const lag = 100 * time.Millisecond // of our own watch
	roots := l.bundles.at(time.Now().Add(-rand.N(hurried.dwell - lag)))
	dialer := &tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "localhost"}}
	conn, err := dialer.DialContext(ctx, "tcp", l.address)
	if err == nil {
		err = conn.Close()
	}
	l.count(&l.dials, err)
}

func (l *load) count(n *atomic.Int64, err error) {
	n.Add(1)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = append(l.failed, time.Now().Format(time.StampMilli)+" "+err.Error())
	}
}

func (l *load) failures() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.failed, "\n")
}

// expectVerdict returns an error unless the webhook was asked and has answered.
func expectVerdict(err error) error {
	if err != nil && strings.Contains(err.Error(), verdict) {
		return nil
	}
	return fmt.Errorf("the webhook was not asked: %w", err)
}
