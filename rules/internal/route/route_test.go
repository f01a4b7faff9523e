// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/mesh"
)

func configuration(t *testing.T) *config.Configuration {
	t.Helper()
	c, err := config.Parse([]byte(`apiVersion: config.sallyport.dev/v1alpha1
kind: Configuration
mesh:
  internalSuffixes: [corp.example.org]
  egressGateways:
  - {name: default, gateway: istio-egress/egress, service: egress.istio-egress.svc.cluster.local}
`))
	require.NoError(t, err)
	return c
}

// TestGatewayName: as resolveGatewayName of istio.io/istio v1.31 does.
func TestGatewayName(t *testing.T) {
	for gateway, want := range map[string]string{
		"egress":                                "shop/egress",
		"./egress":                              "shop/egress",
		"istio-egress/egress":                   "istio-egress/egress",
		"egress.istio-egress":                   "istio-egress/egress",
		"egress.istio-egress.svc.cluster.local": "istio-egress/egress",
	} {
		require.Equal(t, want, route.GatewayName(gateway, "shop"), gateway)
	}
}

func TestAppliesToEgress(t *testing.T) {
	match := func(gateways ...string) *networking.HTTPMatchRequest {
		return &networking.HTTPMatchRequest{Gateways: gateways}
	}
	tests := []struct {
		name      string
		namespace string
		gateways  []string
		matches   []*networking.HTTPMatchRequest
		want      bool
	}{
		{"no gateways", "shop", nil, nil, true},
		{"the mesh", "shop", []string{"mesh"}, nil, true},
		{"an ingress gateway", "shop", []string{"istio-system/ingress"}, nil, false},
		{"an ingress gateway and the mesh", "shop", []string{"istio-system/ingress", "mesh"}, nil, true},
		{"the egress gateway", "shop", []string{"istio-egress/egress"}, nil, true},
		{"the egress gateway by its old name", "shop", []string{"egress.istio-egress.svc.cluster.local"}, nil, true},
		{"the egress gateway from its namespace", "istio-egress", []string{"egress"}, nil, true},
		{"another gateway of that name", "shop", []string{"egress"}, nil, false},
		{"a match for all gateways", "shop", []string{"mesh", "in"}, []*networking.HTTPMatchRequest{match()}, true},
		{"a match for the ingress gateway", "shop", []string{"mesh", "in"}, []*networking.HTTPMatchRequest{match("in")}, false},
		{"one of two matches for the mesh", "shop", []string{"mesh", "in"}, []*networking.HTTPMatchRequest{match("in"), match("mesh")}, true},
		{"a match that cannot widen", "shop", []string{"in"}, []*networking.HTTPMatchRequest{match("mesh")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: tt.namespace}}
			vs.Spec.Gateways = tt.gateways
			require.Equal(t, tt.want, route.AppliesToEgress(configuration(t), vs, &networking.HTTPRoute{Match: tt.matches}))
		})
	}
}

func TestExternal(t *testing.T) {
	c := configuration(t)
	index := mesh.New(c)
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "known"}}
	se.Spec.Hosts = []string{"api.example.com", "example.net", "*.example.io", "inside.shop.svc.cluster.local"}
	index.Set(se)
	tests := []struct {
		host            string
		external, known bool
	}{
		{"api.example.com", true, true},
		{"API.example.com.", true, true},
		{"a.b.example.io", true, true},
		{"unknown.example.com", true, false},
		{"example.net", true, true},
		{"reviews.prod", false, false}, // may be a Service and its namespace
		{"reviews", false, false},
		{"reviews.prod.svc", false, false},
		{"reviews.prod.svc.cluster.local", false, false},
		{"REVIEWS.prod.svc.cluster.local.", false, false},
		{"inside.shop.svc.cluster.local", false, false},
		{"db.corp.example.org", false, false},
		{"evil-svc.cluster.local.example.com", true, false},
		{"", false, false},
	}
	for _, tt := range tests {
		found, external := route.External(c, index, "shop", &networking.Destination{Host: tt.host})
		require.Equal(t, tt.external, external, tt.host)
		require.Equal(t, tt.known, found == se, tt.host)
	}
	_, external := route.External(c, index, "shop", nil)
	require.False(t, external)
}

func TestRetriesHangingTries(t *testing.T) {
	for _, retryOn := range []string{"5xx", "connect-failure,gateway-error", "reset,503"} {
		require.True(t, route.RetriesHangingTries(retryOn), retryOn)
	}
	for _, retryOn := range []string{"", "connect-failure,refused-stream,reset-before-request", "504,retriable-4xx,unavailable"} {
		require.False(t, route.RetriesHangingTries(retryOn), retryOn)
	}
}
