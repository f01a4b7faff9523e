// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// startAt starts a replica with a clock of its own.
func (i *installation) startAt(t *testing.T, own clock.WithTicker) *replica {
	t.Helper()
	opts := i.opts
	opts.Clock = own
	return i.start(t, i.asServer(t), opts)
}

// C5: what is issued by a replica whose clock is wrong is valid for the API
// server, and for replicas whose clock is right.
func TestIssuedWithWrongClock(t *testing.T) {
	for _, skew := range []time.Duration{-3 * time.Hour, -6 * time.Minute, 6 * time.Minute, 3 * time.Hour, 400 * day} {
		t.Run(skew.String(), func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			right := clocktesting.NewFakePassiveClock(time.Now())
			i.serverClock = right
			wrong := clocktesting.NewFakeClock(right.Now().Add(skew))
			i.opts.periods = defaultPeriods
			r := i.startAt(t, wrong)
			eventually(t, func(c *assert.CollectT) {
				bundle, err := i.injected(t.Context())
				assert.NoError(c, err)
				err = handshake(t.Context(), r, bundle, i.serverName(), right.Now())
				assert.NoError(c, err)
				assert.True(c, r.Healthy())
			})
			require.InDelta(t, skew.Seconds(), r.Status().ClockSkewSeconds, 2)
			require.InDelta(t, skew.Seconds(), testutil.ToFloat64(r.metrics.skew), 2)

			before := i.secret(t)
			other := i.startAt(t, clocktesting.NewFakeClock(right.Now()))
			eventually(t, func(c *assert.CollectT) { assert.True(c, other.Healthy()) })
			require.Equal(t, before, i.secret(t), "and there is no need for another one")
		})
	}
}

// A replica whose clock is wrong does not rotate or replace what others are
// content with, and says so; it goes on as soon as the clock is right.
func TestWrongClockHoldsRotation(t *testing.T) {
	tests := []struct {
		name  string
		skew  time.Duration
		age   time.Duration // of CA and leaf, by the right clock
		wants step          // the one with the wrong clock
	}{
		{"a rotation that is due by the wrong clock only", 480 * day, 10 * day, stepRenew},
		{"a rotation that is due", 10 * time.Minute, 500 * day, stepPublish},
		{"a CA that has ended by the wrong clock", 731 * day, 10 * day, stepReissue},
		{"a CA that is not valid yet by the wrong clock", -20 * day, 10 * day, stepReissue},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			right := clocktesting.NewFakePassiveClock(time.Now())
			i.serverClock = right
			wrong := clocktesting.NewFakeClock(right.Now().Add(test.skew))
			before := i.put(t, mustKeyring(t, i.opts.DNSNames, right.Now().Add(-test.age)).renewed(t, right.Now()))
			events := record.NewFakeRecorder(10)
			i.opts.Events, i.opts.periods = events, defaultPeriods
			r := i.startAt(t, wrong)
			eventually(t, func(c *assert.CollectT) {
				assert.Contains(c, r.log.String(), `hold step \"`+string(test.wants)+`\"`)
				assert.Contains(c, r.log.String(), "the API server's: the clocks differ too much")
				assert.NotZero(c, testutil.ToFloat64(r.metrics.errors.WithLabelValues("clock_skew")))
				assert.True(c, r.Healthy(), "what is there is good")
			})
			require.Equal(t, before, i.secret(t))
			require.Contains(t, <-events.Events, "Warning ClockSkew the clock is ")
			require.Contains(t, strings.Join(r.Status().Problems, "\n"), "the clock is ")

			wrong.SetTime(right.Now().Add(maxSkew / 2))
			if test.wants == stepPublish {
				i.reaches(t, phasePublish)
			}
			i.settle(t, r)
			eventually(t, func(c *assert.CollectT) {
				assert.LessOrEqual(c, r.Status().ClockSkewSeconds, maxSkew.Seconds())
			})
		})
	}
}

// A leaf that must be renewed by both clocks is, and lasts by both.
func TestWrongClockRenews(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	right := clocktesting.NewFakePassiveClock(time.Now())
	i.serverClock = right
	wrong := clocktesting.NewFakeClock(right.Now().Add(2 * day))
	old := i.put(t, mustKeyring(t, i.opts.DNSNames, right.Now().Add(-70*day)))
	i.opts.periods = defaultPeriods
	r := i.startAt(t, wrong)
	eventually(t, func(c *assert.CollectT) {
		secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
		assert.NoError(c, err)
		assert.NotEqual(c, old.Data[leafCert], secret.Data[leafCert])
		assert.True(c, r.Healthy())
	})
	for _, now := range []time.Time{right.Now(), wrong.Now()} {
		require.True(t, keyring(i.secret(t).Data).verifiable(i.opts.DNSNames, now))
	}
}

func TestSkewIsUnknown(t *testing.T) {
	ctx := t.Context()
	meter := &skewMeter{client: fake.NewClientset(&corev1.Secret{}), clock: clock.RealClock{}}
	skew, err := meter.measure(ctx)
	require.NoError(t, err)
	require.Zero(t, skew)

	meter.client = clientFor(t, &rest.Config{Host: "https://127.0.0.1:1"})
	_, err = meter.measure(ctx)
	require.ErrorContains(t, err, "compare the clock")
	require.Equal(t, "unreachable", reasonOf(err))
}
