// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"slices"
	"strconv"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	protocols "github.com/sallyport-dev/sallyport/rules/internal/port"
)

// serversOf returns the servers of the Gateways that select the pods of the egress
// gateways. Not to be complete, if there are none, is told by ok.
func serversOf(pass *analysis.Pass, g guard) (servers []*networking.Server, ok bool) {
	for _, gateway := range g.gateways {
		for _, gw := range pass.Mesh.Gateways(gateway.Selector) {
			servers = append(servers, gw.Spec.GetServers()...)
		}
	}
	return servers, len(servers) > 0 || pass.Mesh.Complete(analysis.Gateway)
}

// onPorts returns the servers to which a rule applies, by the ports that its
// operations and conditions name, of which none at all are all ports.
func onPorts(servers []*networking.Server, r *security.Rule) []*networking.Server {
	ports := portsOf(r)
	if len(ports) == 0 {
		return servers
	}
	return slices.DeleteFunc(slices.Clone(servers), func(s *networking.Server) bool {
		return !slices.Contains(ports, strconv.FormatUint(uint64(s.GetPort().GetNumber()), 10))
	})
}

func portsOf(r *security.Rule) []string {
	var ports []string
	for _, to := range r.GetTo() {
		ports = append(ports, to.GetOperation().GetPorts()...)
	}
	for _, c := range r.GetWhen() {
		if c.GetKey() == keyDestinationPort {
			ports = append(ports, c.GetValues()...)
		}
	}
	return ports
}

// knowsPeer reports whether a server asks its clients for their certificate of the
// mesh.
func knowsPeer(s *networking.Server) bool {
	return s.GetTls().GetMode() == networking.ServerTLSSettings_ISTIO_MUTUAL
}

// readsHTTP reports whether a server understands requests, and not connections
// alone.
func readsHTTP(s *networking.Server) bool {
	switch protocol := protocols.Parse(s.GetPort().GetProtocol()); {
	case protocol.HTTPLike():
		return true
	case protocol == protocols.HTTPS:
		mode := s.GetTls().GetMode()
		return s.GetTls() != nil && mode != networking.ServerTLSSettings_PASSTHROUGH && mode != networking.ServerTLSSettings_AUTO_PASSTHROUGH
	default:
		return false
	}
}
