// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// aged makes the replicas' certificates so old that the CA must be rotated.
func (i *installation) aged(t *testing.T) *clocktesting.FakeClock {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Now())
	i.opts.Clock, i.opts.periods = clock, defaultPeriods
	i.put(t, mustKeyring(t, i.opts.DNSNames, clock.Now().Add(-500*day)).renewed(t, clock.Now()))
	return clock
}

// renewed returns the keyring with a leaf of today.
func (k keyring) renewed(t *testing.T, now time.Time) keyring {
	t.Helper()
	ca, err := k.ca(now)
	require.NoError(t, err)
	next, err := k.withLeaf(ca, newProfile(ca.cert.PermittedDNSDomains), now, k.trusted(now))
	require.NoError(t, err)
	return next
}

// C3: as long as one of the targets lacks the new CA, the phase does not advance.
func TestTargetIsMissed(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	clock := i.aged(t)
	g := new(gate)
	g.set(func(req *http.Request) error {
		if req.Method == http.MethodPatch && strings.Contains(req.URL.Path, "mutatingwebhook") {
			return errors.New("one of the targets cannot be reached")
		}
		return nil
	})
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	i.reaches(t, phasePublish)
	published := i.secret(t)
	for range 10 {
		before := strings.Count(r.log.String(), "cannot be reached")
		clock.Step(defaultPeriods.dwell)
		eventually(t, func(c *assert.CollectT) {
			assert.Greater(c, strings.Count(r.log.String(), "cannot be reached"), before)
		})
	}
	require.Equal(t, published.ResourceVersion, i.secret(t).ResourceVersion)
	require.Equal(t, string(phasePublish), r.Status().Phase)
	require.Equal(t, []bool{true, false}, []bool{r.Targets()[0].Injected, r.Targets()[1].Injected})

	g.set(nil)
	clock.Step(defaultPeriods.tick)
	i.settle(t, r)
	clock.Step(defaultPeriods.dwell)
	i.reaches(t, phaseSwitch)
}

// A target from which the new CA cannot be read back holds the rotation up, too.
func TestTargetCannotBeReadBack(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	clock := i.aged(t)
	g := new(gate)
	g.set(func(req *http.Request) error {
		if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/mutatingwebhookconfigurations/"+i.namespace) {
			return errors.New("it cannot be read back")
		}
		return nil
	})
	r := i.start(t, g.through(i.asServer(t)), i.opts)
	i.reaches(t, phasePublish)
	i.settle(t, r)
	clock.Step(defaultPeriods.dwell)
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, r.log.String(), "it cannot be read back") })
	require.Equal(t, string(phasePublish), i.secret(t).Annotations[phaseAnnotation])

	g.set(nil)
	tenMinutes(t, clock, g) // what cannot be read may have been changed, so the dwell begins anew
	require.Equal(t, string(phasePublish), i.secret(t).Annotations[phaseAnnotation])
	tenMinutes(t, clock, g)
	i.reaches(t, phaseSwitch)
}

// C9: who takes a CA away in the middle of a rotation does not stop it, but the
// clients need their time again.
func TestCAIsStrippedMidRotation(t *testing.T) {
	for _, p := range []phase{phasePublish, phaseSwitch} {
		t.Run(string(p), func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			clock := i.aged(t)
			old := i.secret(t).Data[caCert]
			registry := prometheus.NewRegistry()
			i.opts.Registerer = registry
			g := new(gate)
			r := i.start(t, g.through(i.asServer(t)), i.opts)
			i.reaches(t, phasePublish)
			i.settle(t, r)
			if p == phaseSwitch {
				clock.Step(defaultPeriods.dwell)
				i.reaches(t, phaseSwitch)
				i.settle(t, r)
			}
			both := r.CABundle()
			require.True(t, bytes.HasPrefix(both, old))

			stripped := old // of the new one, then of the old one
			if p == phaseSwitch {
				stripped = bytes.TrimPrefix(both, old)
			}
			tenMinutes(t, clock, g)
			i.replace(t, func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = stripped })
			eventually(t, func(c *assert.CollectT) {
				bundle, err := i.injected(t.Context())
				assert.NoError(c, err)
				assert.Equal(c, both, bundle)
			})
			require.Equal(t, 1.0, testutil.ToFloat64(r.metrics.overwritten.WithLabelValues("ValidatingWebhookConfiguration")))
			require.Equal(t, 1, strings.Count(r.log.String(), "Another writer took the CA away"))
			i.settle(t, r)
			if p == phaseSwitch {
				return
			}
			tenMinutes(t, clock, g)
			require.Equal(t, string(phasePublish), i.secret(t).Annotations[phaseAnnotation])
			tenMinutes(t, clock, g)
			i.reaches(t, phaseSwitch)
		})
	}
}

// tenMinutes lets time pass, and the replica behind the gate look each minute.
func tenMinutes(t *testing.T, clock *clocktesting.FakeClock, g *gate) {
	t.Helper()
	for range 10 {
		before := g.count("GET /version") // the last thing it does
		clock.Step(time.Minute)
		eventually(t, func(c *assert.CollectT) { assert.Greater(c, g.count("GET /version"), before) })
	}
}
