// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	gatewayName    = "istio-egress/egress"
	gatewayService = "istio-egressgateway.istio-egress.svc.cluster.local"
)

// byHand returns a VirtualService with routes through the gateway, as Istio's
// documentation has them, from which now and then something is missing.
func (g *generator) byHand(name, host string) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	spec := &vs.Spec
	spec.Hosts = []string{host}
	spec.Gateways = []string{"mesh", gatewayName}
	spec.ExportTo = pick(g, nil, []string{"."}, []string{".", "istio-egress"})
	if g.oneIn(8) {
		spec.Gateways = []string{"mesh"}
	}
	for _, p := range g.portsOf(host) {
		switch {
		case g.oneIn(6): // forgotten
		case isTLS(p):
			spec.Tls = append(spec.Tls, g.tlsLegs(host, p.GetNumber())...)
		default:
			spec.Http = append(spec.Http, g.httpLegs(host, p.GetNumber())...)
		}
	}
	if len(spec.GetHttp())+len(spec.GetTls()) == 0 {
		spec.Http = g.httpLegs(host, 80)
	}
	return vs
}

func to(host string, number uint32) *networking.Destination {
	return &networking.Destination{Host: host, Port: &networking.PortSelector{Number: number}}
}

func (g *generator) httpLegs(host string, number uint32) []*networking.HTTPRoute {
	service := gatewayService
	if g.oneIn(20) {
		service = "istio-egressgateway"
	}
	mesh := &networking.HTTPRoute{
		Match: []*networking.HTTPMatchRequest{{Gateways: []string{"mesh"}, Port: number}},
		Route: []*networking.HTTPRouteDestination{{Destination: to(service, 80)}},
	}
	out := &networking.HTTPRoute{
		Match:   []*networking.HTTPMatchRequest{{Gateways: []string{gatewayName}, Port: 80}},
		Route:   []*networking.HTTPRouteDestination{{Destination: to(host, number)}},
		Timeout: g.duration(), Retries: g.retries(),
	}
	if g.oneIn(4) {
		out.Match[0].Port = 0
	}
	return []*networking.HTTPRoute{mesh, out}
}

func (g *generator) tlsLegs(host string, number uint32) []*networking.TLSRoute {
	leg := func(gateway string, number uint32, to *networking.Destination) *networking.TLSRoute {
		return &networking.TLSRoute{
			Match: []*networking.TLSMatchAttributes{{Gateways: []string{gateway}, Port: number, SniHosts: []string{host}}},
			Route: []*networking.RouteDestination{{Destination: to}},
		}
	}
	legs := []*networking.TLSRoute{leg("mesh", number, to(gatewayService, 443)), leg(gatewayName, 443, to(host, number))}
	if g.oneIn(6) {
		legs[0], legs[1] = legs[1], legs[0]
	}
	return legs
}
