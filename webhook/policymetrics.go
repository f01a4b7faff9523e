// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// policyMetrics are what a [PolicyFeed] tells of itself.
type policyMetrics struct {
	counts *prometheus.GaugeVec
	// generation has no labels, and no value before there is one.
	generation *prometheus.GaugeVec
	exemptions *exemptionStates
}

func newPolicyMetrics(registerer prometheus.Registerer, now func() time.Time) *policyMetrics {
	m := &policyMetrics{
		counts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_policies",
			Help: "EgressPolicies and EgressExemptions by whether their newest generation is valid and in force.",
		}, []string{"kind", "state"}),
		generation: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_policy_generation",
			Help: "A number for the policies, exemptions and Configuration in force, equal where these are.",
		}, nil),
		exemptions: &exemptionStates{now: now, desc: prometheus.NewDesc("sallyport_exemptions",
			"EgressExemptions by state: active, expiring within 7 days, or expired.", []string{"state"}, nil)},
	}
	registerer.MustRegister(m.counts, m.generation, m.exemptions)
	return m
}

func count[T client.Object](counts *prometheus.GaugeVec, kind string, objects []judged[T]) {
	invalid := 0
	for _, j := range objects {
		if j.err != nil {
			invalid++
		}
	}
	counts.WithLabelValues(kind, "accepted").Set(float64(len(objects) - invalid))
	counts.WithLabelValues(kind, "invalid").Set(float64(invalid))
}

// fingerprint returns a number that is equal for equal generations of the same objects
// and an equal Configuration, and else different but for one chance in 2^53. It does
// not grow, and a float64 holds it exactly.
func fingerprint(versions map[version]bool, conf *config.Configuration) (float64, error) {
	facts, err := json.Marshal(conf)
	if err != nil {
		return 0, fmt.Errorf("encode the Configuration: %w", err)
	}
	hash := sha256.New()
	hash.Write(facts)
	for _, v := range slices.SortedFunc(maps.Keys(versions), func(a, b version) int { return strings.Compare(string(a.uid), string(b.uid)) }) {
		fmt.Fprintf(hash, "\n%s %d", v.uid, v.generation)
	}
	return float64(binary.BigEndian.Uint64(hash.Sum(nil)) >> 11), nil
}

// expiresSoon is how long before its end an exemption counts as expiring.
const expiresSoon = 7 * 24 * time.Hour

// exemptionStates counts exemptions by state at the time of each scrape, since they
// expire without anybody changing them.
type exemptionStates struct {
	desc *prometheus.Desc
	now  func() time.Time
	ends atomic.Pointer[[]time.Time]
}

func (s *exemptionStates) set(exemptions map[string]*v1alpha1.EgressExemption) {
	ends := make([]time.Time, 0, len(exemptions))
	for _, e := range exemptions {
		ends = append(ends, e.Spec.ExpiresAt.Time)
	}
	s.ends.Store(&ends)
}

// Describe implements [prometheus.Collector].
func (s *exemptionStates) Describe(descs chan<- *prometheus.Desc) { descs <- s.desc }

// Collect implements [prometheus.Collector].
func (s *exemptionStates) Collect(metrics chan<- prometheus.Metric) {
	ends := s.ends.Load()
	if ends == nil {
		return
	}
	states := map[string]int{"active": 0, "expiring": 0, "expired": 0}
	now := s.now()
	for _, end := range *ends {
		switch left := end.Sub(now); {
		case left <= 0:
			states["expired"]++
		case left <= expiresSoon:
			states["expiring"]++
		default:
			states["active"]++
		}
	}
	for state, n := range states {
		metrics <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(n), state)
	}
}
