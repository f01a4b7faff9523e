// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

func selecting(name string, selector *metav1.LabelSelector, change func(*v1alpha1.EgressPolicySpec)) *v1alpha1.EgressPolicy {
	p := &v1alpha1.EgressPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.NamespaceSelector = selector
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func TestMatch(t *testing.T) {
	namespaces := []corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"team": "x"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "b"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "c", Labels: map[string]string{"team": "x", "env": "prod"}}},
	}
	timeout := func(d time.Duration) func(*v1alpha1.EgressPolicySpec) {
		return func(s *v1alpha1.EgressPolicySpec) {
			s.Defaults = &v1alpha1.Defaults{Timeout: &metav1.Duration{Duration: d}}
		}
	}
	all := &metav1.LabelSelector{}
	teamX := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
	prod := &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	onlyB := &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "b"}}
	broken := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Near"}}}

	require.Equal(t, []Matched{{Namespaces: 3}, {Namespaces: 2}, {Namespaces: 1}, {Namespaces: 1}, {}, {}}, Match([]*v1alpha1.EgressPolicy{
		selecting("all", all, nil), selecting("x", teamX, nil), selecting("prod", prod, nil), selecting("b", onlyB, nil), selecting("broken", broken, nil),
		selecting("none", nil, nil),
	}, namespaces))

	conflict := Match([]*v1alpha1.EgressPolicy{selecting("x", teamX, timeout(1)), selecting("prod", prod, timeout(2))}, namespaces)
	require.Equal(t, []Matched{
		{Namespaces: 2, Conflict: "prod", Field: "defaults.timeout", Namespace: "c"},
		{Namespaces: 1, Conflict: "x", Field: "defaults.timeout", Namespace: "c"},
	}, conflict)

	tests := []struct {
		name  string
		a, b  func(*v1alpha1.EgressPolicySpec)
		field string
	}{
		{"the same timeout", timeout(1), timeout(1), ""},
		{"one timeout", timeout(1), nil, ""},
		{"another priority", timeout(1), func(s *v1alpha1.EgressPolicySpec) { timeout(2)(s); s.Priority = 1 }, ""},
		{
			"retries",
			func(s *v1alpha1.EgressPolicySpec) {
				s.Defaults = &v1alpha1.Defaults{Retries: &v1alpha1.Retries{Attempts: 1}}
			},
			func(s *v1alpha1.EgressPolicySpec) {
				s.Defaults = &v1alpha1.Defaults{Retries: &v1alpha1.Retries{Attempts: 2}}
			},
			"defaults.retries",
		},
		{
			"exportTo",
			func(s *v1alpha1.EgressPolicySpec) { s.Defaults = &v1alpha1.Defaults{ExportTo: []string{"."}} },
			func(s *v1alpha1.EgressPolicySpec) { s.Defaults = &v1alpha1.Defaults{ExportTo: []string{"*"}} },
			"defaults.exportTo",
		},
		{
			"gateways",
			func(s *v1alpha1.EgressPolicySpec) { s.Gateway = &v1alpha1.Route{Mode: "Inject", Name: "a"} },
			func(s *v1alpha1.EgressPolicySpec) { s.Gateway = &v1alpha1.Route{Mode: "Inject", Name: "b"} },
			"gateway.name",
		},
		{
			"gateways of different modes, of which the stricter holds",
			func(s *v1alpha1.EgressPolicySpec) { s.Gateway = &v1alpha1.Route{Mode: "Inject", Name: "a"} },
			func(s *v1alpha1.EgressPolicySpec) { s.Gateway = &v1alpha1.Route{Mode: "Require", Name: "b"} },
			"",
		},
		{
			"waypoints",
			func(s *v1alpha1.EgressPolicySpec) { s.Waypoint = &v1alpha1.Route{Mode: "Require", Name: "x/a"} },
			func(s *v1alpha1.EgressPolicySpec) { s.Waypoint = &v1alpha1.Route{Mode: "Require", Name: "x/b"} },
			"waypoint.name",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Match([]*v1alpha1.EgressPolicy{selecting("a", all, tt.a), selecting("b", all, tt.b)}, namespaces)
			require.Equal(t, tt.field, got[0].Field)
			require.Equal(t, tt.field, got[1].Field)
		})
	}
	apart := Match([]*v1alpha1.EgressPolicy{selecting("x", teamX, timeout(1)), selecting("b", onlyB, timeout(2))}, namespaces)
	require.Empty(t, apart[0].Conflict, "no namespace has both")
}
