// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const service = "egress.istio-egress.svc.cluster.local"

func withGateways() *config.Configuration {
	cfg := *config.Default()
	cfg.Mesh.EgressGateways = []config.EgressGateway{{
		Name: "default", Gateway: "istio-egress/egress", Service: service, Selector: map[string]string{"istio": "egressgateway"},
	}}
	return &cfg
}

func requiring() *policy.Policy {
	pol := *policy.Default()
	pol.Gateway.Mode = policy.ModeRequire
	return &pol
}

func to(h string) *networking.HTTPRouteDestination {
	return &networking.HTTPRouteDestination{Destination: &networking.Destination{Host: h}}
}

// TestNothingToJudge has objects that no API server with Istio's CRDs takes.
func TestNothingToJudge(t *testing.T) {
	suite, err := analysis.NewSuite(Rules...)
	require.NoError(t, err)
	ports := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Name: "null", Namespace: "shop"}}
	ports.Spec.Hosts = []string{"", "api.example.com"}
	ports.Spec.Ports = []*networking.ServicePort{nil}
	index := mesh.New(withGateways())
	index.Set(ports)
	gateways := []string{"", "/", ".", "mesh", "istio-egress/egress"}
	objects := map[string]analysis.Object{
		"empty VirtualService": virtualService(nil, nil),
		"empty ServiceEntry":   &networkingv1.ServiceEntry{},
		"null hosts":           &networkingv1.ServiceEntry{Spec: networking.ServiceEntry{Hosts: []string{"", "."}, Ports: []*networking.ServicePort{nil}}},
		"null routes":          virtualService([]string{"api.example.com", ""}, gateways, nil, &networking.HTTPRoute{}),
		"null destinations": virtualService([]string{"api.example.com"}, gateways, &networking.HTTPRoute{
			Match:   []*networking.HTTPMatchRequest{nil, {}},
			Route:   []*networking.HTTPRouteDestination{nil, {}, to("")},
			Retries: &networking.HTTPRetry{Attempts: 1, RetryOn: ",,"},
			Fault:   &networking.HTTPFaultInjection{Delay: &networking.HTTPFaultInjection_Delay{}, Abort: &networking.HTTPFaultInjection_Abort{}},
		}),
		"null delegate": virtualService([]string{"api.example.com"}, gateways, &networking.HTTPRoute{Delegate: &networking.Delegate{}}),
	}
	tls := virtualService([]string{"api.example.com"}, gateways)
	tls.Spec.Tls = []*networking.TLSRoute{nil, {Match: []*networking.TLSMatchAttributes{nil}, Route: []*networking.RouteDestination{nil}}}
	tls.Spec.Tcp = []*networking.TCPRoute{nil, {Match: []*networking.L4MatchAttributes{nil}, Route: []*networking.RouteDestination{nil}}}
	objects["null tls and tcp routes"] = tls
	for name, obj := range objects {
		t.Run(name, func(t *testing.T) {
			res := analysis.Check(suite, analysis.Input{Object: obj, Config: withGateways(), Policy: requiring(), Mesh: index})
			require.Empty(t, res.Panics)
			require.Empty(t, res.Findings)
		})
	}
}

// TestNotEvaluated shows what rules say where they know no other object.
func TestNotEvaluated(t *testing.T) {
	atGateway := func(h string) *networkingv1.VirtualService {
		return virtualService([]string{"api.example.com"}, []string{"istio-egress/egress"}, &networking.HTTPRoute{Route: []*networking.HTTPRouteDestination{to(h)}})
	}
	atUnknown := func(h string) *networkingv1.VirtualService {
		return virtualService([]string{"api.example.com"}, []string{"mine"}, &networking.HTTPRoute{Route: []*networking.HTTPRouteDestination{to(h)}})
	}
	forSidecars := func(h string) *networkingv1.VirtualService {
		return virtualService([]string{h}, nil, &networking.HTTPRoute{Route: []*networking.HTTPRouteDestination{to(h)}})
	}
	delegatingAtGateway := virtualService([]string{"api.example.com"}, []string{"istio-egress/egress"}, &networking.HTTPRoute{Delegate: &networking.Delegate{Name: "part"}})
	delegating := virtualService([]string{"reviews"}, nil, &networking.HTTPRoute{Delegate: &networking.Delegate{Name: "part"}})
	entry := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: "shop"}}
	entry.Spec.Hosts = []string{"api.example.com"}
	entry.Spec.Ports = []*networking.ServicePort{{Number: 443, Name: "tls", Protocol: "TLS"}}
	tests := []struct {
		name   string
		rule   *analysis.Rule
		object analysis.Object
		config *config.Configuration
		policy *policy.Policy
		want   bool
	}{
		{name: "loop at an unknown gateway", rule: gatewayLoop, object: atUnknown(service), want: true},
		{name: "loop by an unknown delegate", rule: gatewayLoop, object: delegatingAtGateway, want: true},
		{name: "no loop by delegates of sidecars", rule: gatewayLoop, object: delegating},
		{name: "no loop in any case", rule: gatewayLoop, object: atUnknown("api.example.com")},
		{name: "loop without gateways", rule: gatewayLoop, object: atUnknown(service), config: config.Default()},
		{name: "destination at an unknown gateway", rule: gatewayDestination, object: atUnknown("vault"), want: true},
		{name: "own host at an unknown gateway", rule: gatewayDestination, object: atUnknown("api.example.com")},
		{name: "inside for sidecars", rule: gatewayDestination, object: forSidecars("vault")},
		{name: "resolution at an unknown gateway", rule: gatewayResolution, object: atUnknown("api.example.com"), want: true},
		{name: "resolution of an unknown host", rule: gatewayResolution, object: atGateway("api.example.com"), want: true},
		{name: "resolution of a service", rule: gatewayResolution, object: atGateway("vault")},
		{name: "resolution for sidecars", rule: gatewayResolution, object: forSidecars("api.example.com")},
		{name: "protocol of an unknown host", rule: protocol, object: forSidecars("api.example.com"), want: true},
		{name: "protocol of a service", rule: protocol, object: forSidecars("reviews")},
		{name: "protocol for gateways", rule: protocol, object: atGateway("api.example.com")},
		{name: "bypass of an unknown host", rule: gatewayBypass, object: entry, policy: requiring(), want: true},
		{name: "bypass without gateways", rule: gatewayBypass, object: entry, policy: requiring(), config: config.Default(), want: true},
		{name: "bypass nobody asks for", rule: gatewayBypass, object: entry, config: config.Default()},
		{name: "bypass by a delegate at the gateway", rule: gatewayBypass, object: delegatingAtGateway, policy: requiring()},
		{name: "bypass by an unknown delegate", rule: gatewayBypass, object: delegating, policy: requiring(), want: true},
		{name: "unknown delegate nobody asks for", rule: gatewayBypass, object: delegating},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			suite, err := analysis.NewSuite(tt.rule)
			require.NoError(t, err)
			if tt.config == nil {
				tt.config = withGateways()
			}
			in := analysis.Input{Object: tt.object, Config: tt.config, Policy: tt.policy}
			res := analysis.Check(suite, in)
			require.Empty(t, res.Panics)
			require.Empty(t, res.Findings)
			require.Equal(t, tt.want, len(res.NotEvaluated) > 0, res.NotEvaluated)
		})
	}
}

// TestManyPorts: what would take long to compare is not compared.
func TestManyPorts(t *testing.T) {
	index := mesh.New(config.Default())
	entry := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: "shop"}}
	entry.Spec.Hosts = []string{"api.example.com"}
	for i := range uint32(maxPorts + 1) {
		entry.Spec.Ports = append(entry.Spec.Ports, &networking.ServicePort{Number: i + 1, Name: fmt.Sprintf("p%d", i), Protocol: "TLS"})
	}
	index.Set(entry)
	index.SetComplete(analysis.ServiceEntry)
	suite, err := analysis.NewSuite(protocol)
	require.NoError(t, err)
	vs := virtualService(entry.Spec.GetHosts(), nil, &networking.HTTPRoute{Route: []*networking.HTTPRouteDestination{to("api.example.com")}})
	res := analysis.Check(suite, analysis.Input{Object: vs, Mesh: index})
	require.Empty(t, res.Findings)
	require.Len(t, res.NotEvaluated, 1)
}

func virtualService(hosts, gateways []string, routes ...*networking.HTTPRoute) *networkingv1.VirtualService {
	return &networkingv1.VirtualService{
		ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: "shop"},
		Spec:       networking.VirtualService{Hosts: hosts, Gateways: gateways, ExportTo: []string{"."}, Http: routes},
	}
}
