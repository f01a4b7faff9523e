// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/egress"
)

func check(t testing.TB, in analysis.Input) []string {
	t.Helper()
	suite, err := analysis.NewSuite(egress.Rules...)
	require.NoError(t, err)
	in.Object.SetNamespace("istio-egress") // whose exports are not looked at
	res := analysis.Check(suite, in)
	require.Empty(t, res.Panics)
	var got []string
	for _, f := range res.Findings {
		got = append(got, fmt.Sprintf("%s %s %v", f.Verdict.Action, f.Rule.Name, f.Error))
	}
	return got
}

// TestEmptyObjects: nothing panics, and nothing is found where nothing is.
func TestEmptyObjects(t *testing.T) {
	for _, kind := range analysis.Kinds() {
		require.Empty(t, check(t, analysis.Input{Object: kind.New()}))
	}
	require.Empty(t, check(t, analysis.Input{Object: &networkingv1.ServiceEntry{Spec: networking.ServiceEntry{
		Hosts: []string{""}, Endpoints: []*networking.WorkloadEntry{nil, {}}, ExportTo: []string{""},
	}}}))
	require.Empty(t, check(t, analysis.Input{Object: &networkingv1.VirtualService{Spec: networking.VirtualService{
		Http: []*networking.HTTPRoute{nil, {
			Route:   []*networking.HTTPRouteDestination{nil, {}},
			Mirrors: []*networking.HTTPMirrorPolicy{nil, {}},
		}},
		Tls: []*networking.TLSRoute{nil, {Match: []*networking.TLSMatchAttributes{nil}, Route: []*networking.RouteDestination{nil}}},
		Tcp: []*networking.TCPRoute{nil, {Route: []*networking.RouteDestination{nil}}},
	}}}))
	require.Empty(t, check(t, analysis.Input{Object: &networkingv1.DestinationRule{Spec: networking.DestinationRule{
		TrafficPolicy: &networking.TrafficPolicy{PortLevelSettings: []*networking.TrafficPolicy_PortTrafficPolicy{nil, {}}},
		Subsets:       []*networking.Subset{nil, {}},
	}}}))
}

// TestSpellings has hosts that no API server need take.
func TestSpellings(t *testing.T) {
	tests := []struct{ host, want string }{
		{".", "must not end in a dot"},
		{"example.com..", "must not end in a dot; write 'example.com'"},
		{"*.", "must not end in a dot; write '*'"},
		{"API.example.com:443", "must be in lower case; write 'api.example.com:443'"},
		{"a\xff.example.com", "must be in ASCII; write an internationalized name in the form that begins with 'xn--'"},
		{"２００１:db8::1", "must be in ASCII; write '2001:db8::1'"},
		{strings.Repeat("ü", 2000), "must have at most 253 bytes, as a name in DNS does"},
		{strings.Repeat("a", 253) + ".", "must not end in a dot; write '" + strings.Repeat("a", 253) + "'"},
		{"2001:DB8::1", ""},
		{"::FFFF:192.0.2.1", ""},
		{"xn--", ""},
		{" ", ""},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			se := &networkingv1.ServiceEntry{Spec: networking.ServiceEntry{Hosts: []string{tt.host}}}
			got := check(t, analysis.Input{Object: se})
			if tt.want == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.True(t, strings.HasSuffix(got[0], ": "+tt.want), got[0])
		})
	}
}

// TestUnknownOfTheOldObject: what a file has that the object lacks is not held
// against the object before.
func TestUnknownOfTheOldObject(t *testing.T) {
	in := analysis.Input{
		Object:  new(networkingv1.Sidecar),
		Old:     new(networkingv1.Sidecar),
		Unknown: []analysis.UnknownField{{Path: field.NewPath("spec", "x")}},
	}
	got := check(t, in)
	require.Len(t, got, 1)
	require.True(t, strings.HasPrefix(got[0], "Deny egress/unknown-field spec.x: "), got[0])
}

// TestLargeAnnotation has as many unknown fields as an annotation can hold.
func TestLargeAnnotation(t *testing.T) {
	var applied strings.Builder
	applied.WriteString(`{"kind":"VirtualService","spec":{"a":1`)
	for i := 0; applied.Len() < 256<<10; i++ {
		fmt.Fprintf(&applied, `,"f%d":1`, i)
	}
	applied.WriteString(`}}`)
	vs := new(networkingv1.VirtualService)
	vs.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": applied.String()})
	require.Len(t, check(t, analysis.Input{Object: vs}), 16)
}
