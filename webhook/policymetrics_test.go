// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// TestFingerprint: replicas with the same policies have the same number, whatever the
// order in which they came to know them, and any difference shows.
func TestFingerprint(t *testing.T) {
	of := func(conf *config.Configuration, versions ...version) float64 {
		set := map[version]bool{}
		for _, v := range versions {
			set[v] = true
		}
		number, err := fingerprint(set, conf)
		require.NoError(t, err)
		return number
	}
	a, b, conf := version{"a", 1}, version{"b", 1}, config.Default()
	other, err := config.Parse([]byte("apiVersion: config.sallyport.dev/v1alpha1\nkind: Configuration\nmesh: {clusterDomain: example.com}\n"))
	require.NoError(t, err)

	number := of(conf, a, b)
	require.InDelta(t, number, of(conf, b, a), 0)
	require.Less(t, number, float64(1<<53), "a float64 holds it exactly")
	seen := map[float64]bool{number: true}
	for what, different := range map[string]float64{
		"none": of(conf), "one less": of(conf, a), "another generation": of(conf, a, version{"b", 2}),
		"another object": of(conf, a, version{"c", 1}), "another Configuration": of(other, a, b),
		"what reads alike": of(conf, version{"a 1\nb", 1}, version{"a", 11}),
	} {
		require.False(t, seen[different], what)
		seen[different] = true
	}
}

// TestExemptionStates: exemptions grow old without a change; and none is told of
// before they are known.
func TestExemptionStates(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	registry := prometheus.NewRegistry()
	m := newPolicyMetrics(registry, func() time.Time { return now })
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader("")), "nothing is known yet")

	exemptions := map[string]*v1alpha1.EgressExemption{}
	for name, days := range map[string]int{"past": -1, "soon": 3, "week": 7, "late": 8} {
		e := new(v1alpha1.EgressExemption)
		e.Spec.ExpiresAt = metav1.NewTime(now.AddDate(0, 0, days))
		exemptions[name] = e
	}
	m.exemptions.set(exemptions)
	expect := func(active, expiring, expired string) {
		t.Helper()
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP sallyport_exemptions EgressExemptions by state: active, expiring within 7 days, or expired.
# TYPE sallyport_exemptions gauge
sallyport_exemptions{state="active"} `+active+`
sallyport_exemptions{state="expired"} `+expired+`
sallyport_exemptions{state="expiring"} `+expiring+`
`), "sallyport_exemptions"))
	}
	expect("1", "2", "1")
	now = now.AddDate(0, 0, 3)
	expect("0", "2", "2")
	now = now.AddDate(1, 0, 0)
	expect("0", "0", "4")
}
