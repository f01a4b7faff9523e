// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// A fileReplica is a running server with its own mount.
type fileReplica struct {
	*Files
	mount *mount
	log   *logRecord
}

// startFiles starts a replica whose mount holds the certificate and the CA.
func (i *installation) startFiles(t *testing.T, config *rest.Config, pair keyPair, ca *issuer, change func(*FilesOptions)) *fileReplica {
	t.Helper()
	m := newMount(t)
	m.swap(t, pairWith(pair, ca))
	opts := m.options()
	opts.DNSNames, opts.periods = []string{i.serverName()}, quick
	opts.CAFile = m.path("ca.crt")
	opts.ValidatingConfiguration, opts.MutatingConfiguration = i.namespace, i.namespace
	if change != nil {
		change(&opts)
	}
	if opts.Clock != nil {
		config = withDate(config, opts.Clock)
	}
	files, err := NewFiles(clientFor(t, config), opts)
	require.NoError(t, err)
	return &fileReplica{Files: files, mount: m, log: startSource(t, files)}
}

// issue makes a certificate for the installation.
func (i *installation) issue(t *testing.T, ca *issuer, now time.Time) keyPair {
	t.Helper()
	return ca.issue(t, now, 90*day, i.serverName())
}

// has waits until all webhooks have exactly the CAs.
func (i *installation) has(t *testing.T, cas ...*issuer) {
	t.Helper()
	var certs []*x509.Certificate
	for _, ca := range cas {
		certs = append(certs, ca.cert)
	}
	eventually(t, func(c *assert.CollectT) {
		bundle, err := i.injected(t.Context())
		assert.NoError(c, err)
		assert.Equal(c, string(bundleOf(certs)), string(bundle))
	})
}

// rewrite changes all webhooks as somebody who does not care for others.
func (i *installation) rewrite(t *testing.T, change func(*admissionregistrationv1.WebhookClientConfig)) {
	t.Helper()
	i.replace(t, change)
	mutating := i.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	config, err := mutating.Get(t.Context(), i.namespace, metav1.GetOptions{})
	require.NoError(t, err)
	for n := range config.Webhooks {
		change(&config.Webhooks[n].ClientConfig)
	}
	_, err = mutating.Update(t.Context(), config, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// bundles returns one bundle of each kind of webhooks.
func (i *installation) bundles(t *testing.T) [][]byte {
	t.Helper()
	mutating, err := i.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(t.Context(), i.namespace, metav1.GetOptions{})
	if !assert.NoError(t, err) {
		return nil
	}
	validating, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), i.namespace, metav1.GetOptions{})
	if !assert.NoError(t, err) {
		return nil
	}
	return [][]byte{validating.Webhooks[0].ClientConfig.CABundle, mutating.Webhooks[0].ClientConfig.CABundle}
}

// called calls the replicas as the API server does, which trusts what is
// injected, until the returned function is called: it fails if a call failed.
func (i *installation) called(t *testing.T, sources ...Source) (stop func()) {
	t.Helper()
	var ended atomic.Bool
	var group sync.WaitGroup
	calls := 0
	group.Go(func() {
		for !ended.Load() {
			for _, source := range sources {
				for _, bundle := range i.bundles(t) {
					assert.NoError(t, handshake(t.Context(), source, bundle, i.serverName(), time.Now()))
				}
				calls++
			}
		}
	})
	stop = sync.OnceFunc(func() {
		ended.Store(true)
		group.Wait()
		assert.Greater(t, calls, len(sources))
	})
	t.Cleanup(stop)
	return stop
}

// The kubelet gives replicas a new CA minutes apart. Both CAs are trusted then,
// and nobody serves what is not trusted yet.
func TestFilesChangeCA(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	first, second := newIssuer(t, "first", time.Now()), newIssuer(t, "second", time.Now())
	old := i.issue(t, first, time.Now())
	one, other := i.startFiles(t, i.plane.Config, old, first, nil), i.startFiles(t, i.plane.Config, old, first, nil)
	i.has(t, first)
	for _, replica := range []*fileReplica{one, other} {
		eventually(t, func(c *assert.CollectT) { assert.True(c, replica.Healthy()) })
		require.Equal(t, []Target{
			{Kind: "ValidatingWebhookConfiguration", Name: i.namespace, Exists: true, Injected: true},
			{Kind: "MutatingWebhookConfiguration", Name: i.namespace, Exists: true, Injected: true},
		}, replica.Targets())
	}
	stop := i.called(t, one, other)
	for _, replica := range []*fileReplica{one, other} {
		next := i.issue(t, second, time.Now())
		replica.mount.swap(t, pairWith(next, second))
		if replica == one {
			eventually(t, func(c *assert.CollectT) { assert.Contains(c, replica.log.String(), "Holding back new certificate") })
		}
		i.has(t, first, second)
		if replica == one {
			require.True(t, isServed(replica, old), "callers need time to notice")
		}
		replica.changes.notice()
		eventually(t, func(c *assert.CollectT) {
			replica.changes.notice()
			assert.True(c, isServed(replica, next))
		})
		require.True(t, replica.Healthy())
	}
	stop()
}

// A new certificate is not served before the last webhook configuration has its
// CA, unless the old one is about to end.
func TestFilesHoldCertificatesBack(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	clock := clocktesting.NewFakeClock(time.Now())
	first, second := newIssuer(t, "first", time.Now()), newIssuer(t, "second", time.Now())
	old := i.issue(t, first, clock.Now())
	g := new(gate)
	r := i.startFiles(t, g.through(i.plane.Config), old, first, func(o *FilesOptions) { o.Clock = clock })
	i.has(t, first)
	g.set(func(req *http.Request) error {
		if req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "mutatingwebhook") {
			return errors.New("one of the targets cannot be reached")
		}
		return nil
	})
	next := issueLonger(t, second, clock.Now(), i.serverName())
	r.mount.swap(t, pairWith(next, second))
	eventually(t, func(c *assert.CollectT) {
		assert.GreaterOrEqual(c, strings.Count(r.log.String(), "cannot be reached"), 3)
	})
	clock.Step(day)
	time.Sleep(quick.dwell)
	require.True(t, isServed(r, old))
	require.True(t, r.Healthy())

	clock.Step(89*day - time.Hour + time.Second)
	serves(t, r, next)
	require.False(t, r.Healthy(), "the mutating webhooks do not trust it")

	g.set(nil)
	r.changes.notice()
	i.has(t, first, second)
	eventually(t, func(c *assert.CollectT) { assert.True(c, r.Healthy()) })
}

// issueLonger issues a certificate that ends later than others.
func issueLonger(t *testing.T, ca *issuer, now time.Time, names ...string) keyPair {
	t.Helper()
	return ca.issue(t, now, 120*day, names...)
}

// A CA that is not in the file any more is dropped when nobody can serve what it
// has signed.
func TestFilesDropOldCAs(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	clock := clocktesting.NewFakeClock(time.Now())
	first, second := newIssuer(t, "first", time.Now()), newIssuer(t, "second", time.Now())
	ended := newIssuer(t, "ended", time.Now().Add(-20*365*day))
	r := i.startFiles(t, i.plane.Config, i.issue(t, first, clock.Now()), first, func(o *FilesOptions) { o.Clock = clock })
	i.has(t, first)

	// Others add what they like, but what has ended goes.
	i.rewrite(t, func(c *admissionregistrationv1.WebhookClientConfig) {
		c.CABundle = slices.Concat(second.bundle(), []byte("junk"), c.CABundle, ended.bundle())
	})
	i.has(t, first, second)

	next := issueLonger(t, second, clock.Now(), i.serverName())
	r.mount.swap(t, pairWith(next, second))
	clock.Step(time.Hour)
	serves(t, r, next)
	clock.Step(90 * day)
	time.Sleep(quick.dwell)
	i.has(t, first, second)
	last := issueLonger(t, second, clock.Now(), i.serverName())
	r.mount.swap(t, pairWith(last, second))
	serves(t, r, last)
	i.has(t, first, second)

	clock.Step(31 * day)
	i.has(t, second)
	require.True(t, r.Healthy())

	// What it dropped long ago, it can be given again.
	again := issueLonger(t, first, clock.Now(), i.serverName())
	r.mount.swap(t, pairWith(again, first))
	i.has(t, first, second)
}

// C9, C10: what takes the CA away is undone.
func TestFilesPutTheCABack(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	ca := newIssuer(t, "corporate", time.Now())
	r := i.startFiles(t, i.plane.Config, i.issue(t, ca, time.Now()), ca, nil)
	i.has(t, ca)
	stranger := newIssuer(t, "stranger", time.Now())
	for _, change := range []func(*admissionregistrationv1.WebhookClientConfig){
		func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = nil },
		func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = stranger.bundle() },
		func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = bytes.TrimSpace(c.CABundle) },
	} {
		i.rewrite(t, change)
		eventually(t, func(c *assert.CollectT) {
			bundle, err := i.injected(t.Context())
			assert.NoError(c, err)
			assert.NoError(c, handshake(t.Context(), r, bundle, i.serverName(), time.Now()))
			assert.True(c, r.Healthy())
		})
	}
}

// Without a CA in a file, somebody else tells the API server whom to trust.
func TestFilesWithoutCA(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	ca, stranger := newIssuer(t, "corporate", time.Now()), newIssuer(t, "stranger", time.Now())
	pair := i.issue(t, ca, time.Now())
	g := new(gate)
	r := i.startFiles(t, g.through(i.plane.Config), pair, ca, func(o *FilesOptions) { o.CAFile = "" })
	serves(t, r, pair)
	healthy := func(want bool) {
		eventually(t, func(c *assert.CollectT) { assert.Equal(c, want, r.Healthy()) })
	}
	healthy(true)
	i.rewrite(t, func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = stranger.bundle() })
	healthy(false)
	i.rewrite(t, func(c *admissionregistrationv1.WebhookClientConfig) {
		c.CABundle = append(stranger.bundle(), ca.bundle()...)
	})
	healthy(true)

	// The next certificate waits for its CA.
	next := newIssuer(t, "next", time.Now())
	later := i.issue(t, next, time.Now())
	r.mount.swap(t, pairWith(later, next))
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, r.log.String(), "Holding back new certificate") })
	require.True(t, isServed(r, pair))
	i.rewrite(t, func(c *admissionregistrationv1.WebhookClientConfig) {
		c.CABundle = append(c.CABundle, next.bundle()...)
	})
	eventually(t, func(c *assert.CollectT) {
		r.changes.notice()
		assert.True(c, isServed(r, later))
	})
	require.Empty(t, g.writes())
}

// The permissions of the package documentation are enough.
func TestFilesPermissions(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	user := i.user(t, nil, []rbacv1.PolicyRule{i.onConfigurations("get", "list", "watch")})
	ca := newIssuer(t, "corporate", time.Now())
	r := i.startFiles(t, user, i.issue(t, ca, time.Now()), ca, nil)
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, r.log.String(), "forbidden") })
	require.False(t, r.Healthy())
	i.grant(t, []rbacv1.PolicyRule{i.onConfigurations("get", "list", "watch", "patch")})
	i.has(t, ca)
	eventually(t, func(c *assert.CollectT) { assert.True(c, r.Healthy()) })
}
