// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

func onlyMesh() []string { return []string{route.Mesh} }

func (p *plan) bound() []string { return []string{p.gateway.Gateway} }

func (p *plan) toGateway(number uint32) *networking.Destination {
	return &networking.Destination{Host: p.gateway.Service, Port: &networking.PortSelector{Number: number}}
}

// explicit writes down the port that a destination has for sidecars: a gateway,
// which listens on another port, would take that one instead.
func (p *plan) explicit(d *networking.Destination, listener uint32, http bool) {
	if d.GetPort().GetNumber() == 0 {
		number, _ := p.destination(d, listener, http)
		d.Port = &networking.PortSelector{Number: number}
	}
}

// liftHTTP binds the HTTP routes to the gateway and puts the mesh's leg before them.
func (p *plan) liftHTTP(fill func(*networking.HTTPRoute)) {
	if p.http == 0 {
		return
	}
	spec := p.draft.Spec
	if len(spec.GetHttp()) == 0 {
		spec.Http = p.generateHTTP(fill)
		p.draft.HTTP = slices.Repeat([]int{-1}, len(spec.GetHttp()))
	}
	for _, r := range spec.GetHttp() {
		if len(r.GetMatch()) == 0 {
			r.Match = []*networking.HTTPMatchRequest{{}}
		}
		for _, m := range r.GetMatch() {
			m.Gateways, m.Port = p.bound(), p.gateway.Ports.HTTP
		}
		for _, d := range httpDestinations(r) {
			p.explicit(d, p.http, true)
		}
	}
	spec.Http = slices.Insert(spec.GetHttp(), 0, p.meshLeg())
	p.draft.HTTP = slices.Insert(p.draft.HTTP, 0, -1)
}

// meshLeg leads the mesh's HTTP requests to the gateway. Only what the gateway has
// never seen is tried again, since it does the retries of the routes.
func (p *plan) meshLeg() *networking.HTTPRoute {
	return &networking.HTTPRoute{
		Name:    fmt.Sprintf("%s%d", meshLegPrefix, p.http),
		Match:   []*networking.HTTPMatchRequest{{Gateways: onlyMesh(), Port: p.http}},
		Route:   []*networking.HTTPRouteDestination{{Destination: p.toGateway(p.gateway.Ports.HTTP)}},
		Retries: &networking.HTTPRetry{Attempts: 2, RetryOn: "connect-failure,refused-stream"},
		Timeout: longest(p.draft.Spec.GetHttp()),
	}
}

// longest returns the time that the longest of the routes takes, and one second, lest
// the sidecar be quicker than the gateway to give up; nil if one has no end.
func longest(routes []*networking.HTTPRoute) *durationpb.Duration {
	var most time.Duration
	for _, r := range routes {
		switch {
		case r.GetRedirect() != nil || r.GetDirectResponse() != nil:
			continue
		case r.GetDelegate() != nil || r.GetTimeout() == nil:
			return nil
		}
		most = max(most, r.GetTimeout().AsDuration()+r.GetFault().GetDelay().GetFixedDelay().AsDuration())
	}
	if most == 0 {
		return nil
	}
	return durationpb.New(most + time.Second)
}

// generateHTTP makes routes that lead the requests for each host to the host, as
// sidecars do without routes.
func (p *plan) generateHTTP(fill func(*networking.HTTPRoute)) []*networking.HTTPRoute {
	var routes []*networking.HTTPRoute
	for i, h := range p.httpHosts {
		r := &networking.HTTPRoute{
			Name:  fmt.Sprintf("%s%d-%d", generatedPrefix, p.http, i),
			Route: []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: h}}},
		}
		if len(p.hosts) > 1 {
			// Clients may write the host in capitals, and with its port.
			pattern := `(?i)` + regexp.QuoteMeta(host.Normal(h)) + `\.?(:[0-9]+)?`
			r.Match = []*networking.HTTPMatchRequest{{Authority: &networking.StringMatch{MatchType: &networking.StringMatch_Regex{Regex: pattern}}}}
		}
		if fill != nil {
			fill(r)
		}
		routes = append(routes, r)
	}
	return routes
}

// liftTLS does the same for TLS routes, and adds those of hosts that have none.
func (p *plan) liftTLS() {
	if p.tls == 0 {
		return
	}
	spec := p.draft.Spec
	var named []string
	for _, r := range spec.GetTls() {
		for _, m := range r.GetMatch() {
			m.Gateways, m.Port = p.bound(), p.gateway.Ports.TLS
			named = append(named, m.GetSniHosts()...)
		}
		for _, d := range destinations(r.GetRoute()) {
			p.explicit(d, p.tls, false)
		}
	}
	for _, h := range p.tlsHosts {
		if slices.ContainsFunc(named, func(n string) bool { return host.Covers(host.Normal(n), host.Normal(h)) }) {
			continue
		}
		spec.Tls = append(spec.Tls, p.tlsRoute(p.bound(), p.gateway.Ports.TLS, []string{h},
			&networking.Destination{Host: h, Port: &networking.PortSelector{Number: p.tls}}))
		p.draft.TLS = append(p.draft.TLS, -1)
	}
	leg := p.tlsRoute(onlyMesh(), p.tls, p.tlsHosts, p.toGateway(p.gateway.Ports.TLS))
	spec.Tls = slices.Insert(spec.GetTls(), 0, leg)
	p.draft.TLS = slices.Insert(p.draft.TLS, 0, -1)
}

// tlsRoute has a match for each name: Envoy refuses a listener on which two matches
// have one in common, and istiod leaves the second of two out only if they are equal.
func (*plan) tlsRoute(gateways []string, number uint32, names []string, to *networking.Destination) *networking.TLSRoute {
	r := &networking.TLSRoute{Route: []*networking.RouteDestination{{Destination: to}}}
	for _, name := range names {
		r.Match = append(r.Match, &networking.TLSMatchAttributes{Gateways: gateways, Port: number, SniHosts: []string{name}})
	}
	return r
}

// liftTCP does the same for TCP routes, each port of which has one of the gateway.
func (p *plan) liftTCP() {
	if len(p.tcp) == 0 {
		return
	}
	spec := p.draft.Spec
	named := map[uint32]bool{}
	for _, r := range spec.GetTcp() {
		if len(r.GetMatch()) == 0 {
			r.Match = []*networking.L4MatchAttributes{{}}
		}
		for _, m := range r.GetMatch() {
			t := p.tcpPort(m.GetPort())
			for _, d := range destinations(r.GetRoute()) {
				p.explicit(d, t.Port, false)
			}
			m.Gateways, m.Port = []string{t.Gateway}, t.GatewayPort
			named[t.Port] = true
		}
	}
	var legs []*networking.TCPRoute
	for _, t := range p.tcp {
		legs = append(legs, p.tcpRoute(onlyMesh(), t.Port, p.subnets(), p.toGateway(t.GatewayPort)))
		if !named[t.Port] {
			to := &networking.Destination{Host: spec.GetHosts()[0], Port: &networking.PortSelector{Number: t.Port}}
			spec.Tcp = append(spec.Tcp, p.tcpRoute([]string{t.Gateway}, t.GatewayPort, nil, to))
			p.draft.TCP = append(p.draft.TCP, -1)
		}
	}
	spec.Tcp = slices.Insert(spec.GetTcp(), 0, legs...)
	p.draft.TCP = slices.Insert(p.draft.TCP, 0, slices.Repeat([]int{-1}, len(legs))...)
}

func (*plan) tcpRoute(gateways []string, number uint32, subnets []string, to *networking.Destination) *networking.TCPRoute {
	return &networking.TCPRoute{
		Match: []*networking.L4MatchAttributes{{Gateways: gateways, Port: number, DestinationSubnets: subnets}},
		Route: []*networking.RouteDestination{{Destination: to}},
	}
}

// tcpPort returns the gateway's port for a port of the host; 0 stands for the only
// one.
func (p *plan) tcpPort(number uint32) config.TCPPort {
	for _, t := range p.tcp {
		if t.Port == number {
			return t
		}
	}
	return p.tcp[0]
}

// subnets returns the addresses of the only host, by which sidecars tell it from
// others with the same port.
func (p *plan) subnets() []string {
	var subnets []string
	if se := p.entries[0]; se != nil {
		for _, address := range se.Spec.GetAddresses() {
			if prefix, ok := cidr.Parse(address); ok {
				subnets = append(subnets, prefix.String())
			}
		}
	}
	return subnets
}
