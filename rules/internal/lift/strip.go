// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

func isNamedLeg(r *networking.HTTPRoute) bool {
	return strings.HasPrefix(r.GetName(), meshLegPrefix) && onlyForMesh(r.GetMatch())
}

func isGenerated(c *config.Configuration, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	return strings.HasPrefix(r.GetName(), generatedPrefix) && isForGateway(c, vs, r.GetMatch())
}

// leadsElsewhere reports whether a leg for the mesh leads to what is no configured
// egress gateway.
func leadsElsewhere(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	return slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool {
		to := httpDestinations(r)
		return isNamedLeg(r) && (len(to) != 1 || !meansGateway(c, vs, to[0]))
	})
}

type match interface{ GetGateways() []string }

// onlyForMesh reports whether a route is one for sidecars by each of its matches.
func onlyForMesh[M match](matches []M) bool {
	return len(matches) > 0 && !slices.ContainsFunc(matches, func(m M) bool { return !isMesh(m.GetGateways()) })
}

func isMesh(gateways []string) bool { return len(gateways) == 1 && gateways[0] == route.Mesh }

// isBound reports whether gateways are Gateways of configured egress gateways, at
// least one, and nothing else.
func isBound(c *config.Configuration, vs *networkingv1.VirtualService, gateways []string) bool {
	return len(gateways) > 0 && !slices.ContainsFunc(gateways, func(g string) bool {
		return g == route.Mesh || !isEgress(c, route.GatewayName(g, vs.GetNamespace()))
	})
}

func isEgress(c *config.Configuration, gateway string) bool {
	return slices.ContainsFunc(c.Mesh.EgressGateways, func(g config.EgressGateway) bool {
		return g.Gateway == gateway || slices.ContainsFunc(g.TCP, func(t config.TCPPort) bool { return t.Gateway == gateway })
	})
}

// A stripper takes away what lifting has added.
type stripper struct {
	config *config.Configuration
	vs     *networkingv1.VirtualService
	draft  *Draft
}

// strip returns a copy of a VirtualService without what lifting has added. What was
// implicit in the original, such as the ports of destinations, stays explicit.
func strip(c *config.Configuration, vs *networkingv1.VirtualService) *Draft {
	s := &stripper{config: c, vs: vs, draft: &Draft{Spec: vs.Spec.DeepCopy()}}
	s.draft.Spec.Gateways = slices.DeleteFunc(s.draft.Spec.GetGateways(), func(g string) bool { return isBound(c, vs, []string{g}) })
	s.http()
	s.tls()
	s.tcp()
	return s.draft
}

func (s *stripper) http() {
	routes := s.draft.Spec.GetHttp()
	s.draft.Spec.Http = nil
	for i, r := range routes {
		if isNamedLeg(r) || onlyForMesh(r.GetMatch()) && s.leadsToGateway(httpDestinations(r)) {
			s.draft.http = r.GetMatch()[0].GetPort()
			continue
		}
		if isGenerated(s.config, s.vs, r) {
			continue
		}
		for _, m := range r.GetMatch() {
			switch {
			case isBound(s.config, s.vs, m.GetGateways()):
				m.Gateways, m.Port = nil, 0
			case isMesh(m.GetGateways()):
				m.Gateways = nil // as it is without
			}
		}
		if len(r.GetMatch()) == 1 && proto.Size(r.GetMatch()[0]) == 0 {
			r.Match = nil
		}
		s.draft.Spec.Http = append(s.draft.Spec.Http, r)
		s.draft.HTTP = append(s.draft.HTTP, i)
	}
}

func (s *stripper) tls() {
	routes := s.draft.Spec.GetTls()
	s.draft.Spec.Tls = nil
	for i, r := range routes {
		if onlyForMesh(r.GetMatch()) && s.leadsToGateway(destinations(r.GetRoute())) {
			s.draft.tls = r.GetMatch()[0].GetPort()
			continue
		}
		for _, m := range r.GetMatch() {
			if isBound(s.config, s.vs, m.GetGateways()) {
				m.Gateways, m.Port = nil, 0
			}
		}
		s.draft.Spec.Tls = append(s.draft.Spec.Tls, r)
		s.draft.TLS = append(s.draft.TLS, i)
	}
}

func (s *stripper) tcp() {
	routes := s.draft.Spec.GetTcp()
	s.draft.Spec.Tcp = nil
	for i, r := range routes {
		if onlyForMesh(r.GetMatch()) && s.leadsToGateway(destinations(r.GetRoute())) {
			continue
		}
		for _, m := range r.GetMatch() {
			if isBound(s.config, s.vs, m.GetGateways()) {
				m.Gateways, m.Port = nil, s.portBehind(m.GetPort())
			}
		}
		if len(r.GetMatch()) == 1 && proto.Size(r.GetMatch()[0]) == 0 {
			r.Match = nil
		}
		s.draft.Spec.Tcp = append(s.draft.Spec.Tcp, r)
		s.draft.TCP = append(s.draft.TCP, i)
	}
}

// portBehind returns the external port that a gateway's port for TCP leads to, or 0.
func (s *stripper) portBehind(gatewayPort uint32) uint32 {
	for _, g := range s.config.Mesh.EgressGateways {
		for _, t := range g.TCP {
			if t.GatewayPort == gatewayPort && slices.Contains(s.draft.Spec.GetHosts(), t.Host) {
				return t.Port
			}
		}
	}
	return 0
}

// leadsToGateway reports whether the only destination is the Service of a
// configured egress gateway.
func (s *stripper) leadsToGateway(to []*networking.Destination) bool {
	if len(to) != 1 {
		return false
	}
	return meansGateway(s.config, s.vs, to[0])
}

// meansGateway reports whether a destination is the Service of a configured egress
// gateway, also in a short form that does not lead there from the namespace.
func meansGateway(c *config.Configuration, vs *networkingv1.VirtualService, to *networking.Destination) bool {
	written := host.Normal(to.GetHost())
	full := host.Expand(written, vs.GetNamespace(), c.Mesh.ClusterDomain)
	return slices.ContainsFunc(c.Mesh.EgressGateways, func(g config.EgressGateway) bool {
		return g.Service == full || written != "" && strings.HasPrefix(g.Service, written+".")
	})
}

// dropIdentities takes away the TLS routes, or the TCP routes, if all of them do
// what happens without them: they were generated, or are again. tls is the port that
// clients use for TLS, or 0.
func (d *Draft) dropIdentities(tls uint32) {
	if !slices.ContainsFunc(d.Spec.GetTls(), func(r *networking.TLSRoute) bool { return !isTLSIdentity(r, tls) }) {
		d.Spec.Tls, d.TLS = nil, nil
	}
	if !slices.ContainsFunc(d.Spec.GetTcp(), func(r *networking.TCPRoute) bool { return !isTCPIdentity(d.Spec.GetHosts(), r) }) {
		d.Spec.Tcp, d.TCP = nil, nil
	}
}

// isTLSIdentity reports whether a TLS route leads one server name to the host of that
// name, on the port that clients use, and does nothing else.
func isTLSIdentity(r *networking.TLSRoute, tls uint32) bool {
	if len(r.GetMatch()) != 1 || len(r.GetRoute()) != 1 || len(r.GetMatch()[0].GetSniHosts()) != 1 {
		return false
	}
	m, to := r.GetMatch()[0], r.GetRoute()[0].GetDestination()
	only := &networking.TLSMatchAttributes{SniHosts: m.GetSniHosts(), Port: m.GetPort()}
	number := to.GetPort().GetNumber()
	return proto.Equal(only, m) && to.GetSubset() == "" && host.Normal(m.GetSniHosts()[0]) == host.Normal(to.GetHost()) &&
		(number == 0 || number == cmp.Or(tls, m.GetPort()))
}

// isTCPIdentity reports whether a TCP route leads one port of the only host to that
// port of the host and does nothing else.
func isTCPIdentity(hosts []string, r *networking.TCPRoute) bool {
	if len(hosts) != 1 || len(r.GetMatch()) != 1 || len(r.GetRoute()) != 1 {
		return false
	}
	m, d := r.GetMatch()[0], r.GetRoute()[0].GetDestination()
	only := &networking.L4MatchAttributes{Port: m.GetPort()}
	return m.GetPort() != 0 && proto.Equal(only, m) && d.GetSubset() == "" &&
		host.Normal(d.GetHost()) == host.Normal(hosts[0]) && (d.GetPort() == nil || d.GetPort().GetNumber() == m.GetPort())
}
