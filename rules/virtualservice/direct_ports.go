// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// directPorts returns the ports, with protocols, on which sidecars connect to a host of
// the ServiceEntry themselves, although some are led elsewhere, and may not.
func directPorts(pass *analysis.Pass, se *networkingv1.ServiceEntry, h string, l *legs) []string {
	led := l.portsOf(h)
	var direct []string
	for _, p := range se.Spec.GetPorts() {
		sp := spokenPort{p.GetNumber(), port.Parse(p.GetProtocol())}
		if sp.number == 0 || sp.protocol == port.UDP || led.has(sp) || approval.Direct(pass.Policy, h, []uint32{sp.number}) {
			continue
		}
		direct = append(direct, sp.String())
	}
	return direct
}

// gatewayLegs keeps the legs of VirtualServices: objects with many hosts ask often.
type gatewayLegs map[*networkingv1.VirtualService]*legs

// of returns the legs of a VirtualService; without one there are none.
func (g gatewayLegs) of(pass *analysis.Pass, vs *networkingv1.VirtualService) *legs {
	if g[vs] == nil {
		g[vs] = legsOf(pass, vs)
	}
	return g[vs]
}

// legs are the routes by which sidecars reach an egress gateway, by what tells the hosts
// apart, and those by which they answer themselves.
type legs struct {
	http, tcp portSet
	tls       map[string]*portSet // by server name
	wildcards []string            // among the server names
}

func legsOf(pass *analysis.Pass, vs *networkingv1.VirtualService) *legs {
	l := &legs{tls: map[string]*portSet{}}
	if vs == nil {
		return l
	}
	for _, r := range vs.Spec.GetHttp() {
		answers := r.GetRedirect() != nil || r.GetDirectResponse() != nil
		if answers && onSidecars(route.Gateways(vs, gatewaysOf(r.GetMatch()))) {
			l.http.add(portsOfMatches(r.GetMatch()))
		}
	}
	for h := range hops(pass, vs, onSidecars) {
		if gatewayByService(pass.Config, h.namespace, h.Destination) == nil {
			continue
		}
		switch {
		case h.HTTP != nil:
			l.http.add(portsOfMatches(h.HTTP.GetMatch()))
		case h.TLS != nil:
			l.addTLS(h.TLS)
		case h.TCP != nil:
			l.tcp.add(portsOfMatches(h.TCP.GetMatch()))
		}
	}
	return l
}

func (l *legs) addTLS(r *networking.TLSRoute) {
	for _, m := range r.GetMatch() {
		for _, sni := range m.GetSniHosts() {
			sni = host.Normal(sni)
			if l.tls[sni] == nil {
				l.tls[sni] = new(portSet)
				if host.IsWildcard(sni) {
					l.wildcards = append(l.wildcards, sni)
				}
			}
			l.tls[sni].add(portsOfMatches([]portMatch{m}))
		}
	}
}

// portsOf returns the ports that are led for a host.
func (l *legs) portsOf(name string) ledPorts {
	led := ledPorts{http: l.http, tcp: l.tcp}
	if exact := l.tls[name]; exact != nil {
		led.tls.add(*exact)
	}
	for _, w := range l.wildcards {
		if host.Covers(w, name) {
			led.tls.add(*l.tls[w])
		}
	}
	return led
}

// ledPorts are the ports of a host that routes lead to an egress gateway, by the kind of
// route, and those on which sidecars answer themselves.
type ledPorts struct{ http, tls, tcp portSet }

// has reports whether all that may come to the port is led: without a protocol
// that is HTTP and everything else.
func (l *ledPorts) has(p spokenPort) bool {
	switch {
	case p.protocol.TLSLike():
		return l.tls.has(p.number)
	case p.protocol.HTTPLike():
		return l.http.has(p.number)
	case p.protocol == port.Sniffed:
		return l.http.has(p.number) && l.tcp.has(p.number)
	default:
		return l.tcp.has(p.number)
	}
}
