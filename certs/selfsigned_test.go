// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// A new CA is used when it is trusted, not before.
func TestNewCAIsTrustedBeforeItIsUsed(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	g := new(gate)
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	i.settle(t, r)
	served, err := r.GetCertificate(nil)
	require.NoError(t, err)
	old := keyring(i.secret(t).Data)

	g.set(func(req *http.Request) error {
		if req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "mutatingwebhook") {
			return errors.New("one of the targets cannot be reached")
		}
		return nil
	})
	next := mustKeyring(t, i.opts.DNSNames, time.Now(), bundled(t, old.bundle())...)
	i.update(t, func(s *corev1.Secret) { s.Data = next })
	eventually(t, func(c *assert.CollectT) {
		assert.GreaterOrEqual(c, strings.Count(r.log.String(), "cannot be reached"), 3)
	})
	still, err := r.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, served.Leaf, still.Leaf)
	injected := map[string]bool{}
	for _, target := range r.Targets() {
		injected[target.Kind] = target.Injected
	}
	require.Equal(t, map[string]bool{"ValidatingWebhookConfiguration": true, "MutatingWebhookConfiguration": false}, injected)
	for _, bundle := range [][]byte{old.bundle(), next.bundle()} {
		err := handshake(t.Context(), r, bundle, i.serverName(), time.Now())
		require.NoError(t, err)
	}

	g.set(nil)
	eventually(t, func(c *assert.CollectT) {
		after, err := r.GetCertificate(nil)
		assert.NoError(c, err)
		assert.NotEqual(c, served.Leaf.SerialNumber, after.Leaf.SerialNumber)
	})
	i.settle(t, r)
}

// C4 and C12: the time passes by leaps, and nobody restarts anything.
func TestTimePasses(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	clock := clocktesting.NewFakeClock(time.Now())
	i.opts.Clock, i.opts.periods = clock, defaultPeriods
	replicas := []*replica{i.startOne(t), i.startOne(t)}
	i.settle(t, replicas...)
	first := i.secret(t)

	clock.Step(365 * day) // the leaf has ended
	i.settle(t, replicas...)
	second := i.secret(t)
	require.NotEqual(t, first.Data[leafCert], second.Data[leafCert])
	require.Equal(t, first.Data[caKey], second.Data[caKey])

	clock.Step(150 * day) // less than a third of the CA's life is left
	i.reaches(t, phasePublish)
	i.settle(t, replicas...)
	third := i.secret(t)
	require.Len(t, bundled(t, third.Data[caCert]), 2)
	require.Contains(t, string(third.Data[caCert]), string(second.Data[caCert]), "the old CA stays trusted")
	require.Equal(t, second.Data[caKey], third.Data[caKey], "and signs")

	clock.Step(i.opts.periods.dwell) // all API servers have noticed
	i.reaches(t, phaseSwitch)
	i.settle(t, replicas...)
	fourth := i.secret(t)
	require.Equal(t, third.Data[nextKey], fourth.Data[caKey])
	require.Len(t, bundled(t, fourth.Data[caCert]), 2)

	clock.Step(91 * day) // the last leaf of the old CA has ended
	i.reaches(t, phaseSteady)
	i.settle(t, replicas...)
	require.Len(t, bundled(t, i.secret(t).Data[caCert]), 1)

	clock.Step(10 * 365 * day) // everything has ended
	eventually(t, func(c *assert.CollectT) {
		secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
		assert.NoError(c, err)
		assert.NotEqual(c, fourth.Data[caKey], secret.Data[caKey])
	})
	i.settle(t, replicas...)
	require.Len(t, bundled(t, i.secret(t).Data[caCert]), 1)
}

// reaches waits until the rotation is in the phase.
func (i *installation) reaches(t *testing.T, p phase) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) {
		secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
		assert.NoError(c, err)
		assert.Equal(c, string(p), secret.Annotations[phaseAnnotation])
	})
}

// C13: while it is not known what the Secret holds, nothing is generated.
func TestNothingIsGeneratedBeforeTheSecretIsKnown(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	before := i.put(t, mustKeyring(t, i.opts.DNSNames, time.Now()))
	g, release := new(gate), make(chan struct{})
	held := make(chan struct{}, 1)
	g.set(func(req *http.Request) error {
		if strings.HasSuffix(req.URL.Path, "/secrets") {
			select {
			case held <- struct{}{}:
			default:
			}
			select {
			case <-release:
			case <-req.Context().Done():
			}
		}
		return nil
	})
	clock := clocktesting.NewFakeClock(time.Now())
	i.opts.Clock = clock
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	<-held
	eventually(t, func(c *assert.CollectT) {
		for _, target := range r.Targets() {
			assert.True(c, target.Exists, "the other watches are on")
		}
	})
	for range 10 { // however often it looks
		clock.Step(i.opts.periods.tick)
		r.changes.notice()
	}
	require.Empty(t, g.writes())
	require.False(t, r.Healthy())

	close(release)
	i.settle(t, r)
	require.Equal(t, before, i.secret(t))
}

// What is known is enough to serve, though nothing can be read or written.
func TestServesWhatItKnows(t *testing.T) {
	i := newInstallation(t)
	i.configure(t) // and there is something to inject
	keys := mustKeyring(t, i.opts.DNSNames, time.Now())
	i.put(t, keys)
	g := new(gate)
	g.set(func(req *http.Request) error {
		if strings.HasSuffix(req.URL.Path, "/"+secretName) {
			return errors.New("the secret cannot be read")
		}
		return nil
	})
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, r.log.String(), "the secret cannot be read")
		_, err := r.GetCertificate(nil)
		assert.NoError(c, err)
	})
	err := handshake(t.Context(), r, keys.bundle(), i.serverName(), time.Now())
	require.NoError(t, err)
	require.Empty(t, g.writes())
	require.False(t, r.Healthy(), "the API server does not trust it yet")

	g.set(nil)
	i.settle(t, r)
}

// The API server goes away and comes back: the last good certificate is served,
// and what was missed is made up for.
func TestAPIServerIsAway(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	g := new(gate)
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	i.settle(t, r)
	before, err := r.GetCertificate(nil)
	require.NoError(t, err)

	g.set(func(*http.Request) error { return errors.New("the API server is away") })
	require.NoError(t, i.client.CoreV1().Secrets(i.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, r.log.String(), "the API server is away")
	})
	after, err := r.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, before.Leaf, after.Leaf)
	require.NoError(t, i.trusted(t.Context(), r))

	g.set(nil)
	eventually(t, func(c *assert.CollectT) {
		_, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
		assert.NoError(c, err)
	})
	i.settle(t, r)
}

// Somebody who breaks the Secret as fast as it is repaired is not joined in a
// race that burdens the API server.
func TestWritesAreLimited(t *testing.T) {
	i := newInstallation(t)
	g := new(gate)
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	eventually(t, func(c *assert.CollectT) { assert.True(c, r.Healthy()) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	breaks := 0
	for ctx.Err() == nil && !strings.Contains(r.log.String(), errTooManyWrites.Error()) {
		i.update(t, func(s *corev1.Secret) { s.Data = keyring{leafCert: fmt.Append(nil, breaks), leafKey: nil} })
		breaks++
	}
	require.NoError(t, ctx.Err())
	require.Less(t, len(g.writes()), breaks+1)
	require.LessOrEqual(t, len(g.writes()), 20+int(patience/time.Second))
	require.True(t, r.Healthy())
}
