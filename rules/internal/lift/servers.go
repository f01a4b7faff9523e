// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

// checkServers looks whether the Gateways serve the hosts: what a gateway does not
// serve ends there with status 404, or without a listener.
func (p *plan) checkServers() string {
	if p.http != 0 {
		if reason := p.checkServer(p.gateway.Gateway, p.gateway.Ports.HTTP, p.httpHosts, "for HTTP", servesHTTP); reason != "" {
			return reason
		}
	}
	if p.tls != 0 {
		if reason := p.checkServer(p.gateway.Gateway, p.gateway.Ports.TLS, p.tlsHosts, "with `tls.mode: PASSTHROUGH`", servesTLS); reason != "" {
			return reason
		}
	}
	for _, t := range p.tcp {
		if reason := p.checkServer(t.Gateway, t.GatewayPort, p.hosts, "for TCP", servesTCP); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *plan) checkServer(name string, number uint32, hosts []string, kind string, serves func(*networking.Server) bool) string {
	namespace, object, _ := strings.Cut(name, "/")
	gw, _ := p.Mesh.Object(analysis.Gateway, namespace, object).(*networkingv1.Gateway)
	if gw == nil {
		if p.Mesh.Complete(analysis.Gateway) {
			return fmt.Sprintf("there is no Gateway '%s'; ask the platform team", name)
		}
		return ""
	}
	for _, h := range hosts {
		i := slices.IndexFunc(gw.Spec.GetServers(), func(s *networking.Server) bool {
			return s.GetPort().GetNumber() == number && serves(s) && p.admits(gw, s, host.Normal(h))
		})
		if i < 0 {
			return fmt.Sprintf("Gateway '%s' has no server on port %d %s that takes '%s' from this namespace; ask the platform team", name, number, kind, h)
		}
		if gw.Spec.GetServers()[i].GetTls().GetMode() == networking.ServerTLSSettings_ISTIO_MUTUAL && !p.speaksMutualTLS(number) {
			return fmt.Sprintf("Gateway '%s' expects mutual TLS on port %d, and no DestinationRule has sidecars of this namespace speak it; ask the platform team", name, number)
		}
	}
	return ""
}

// speaksMutualTLS reports whether the sidecars of the namespace speak mutual TLS to a
// port of the gateway's Service, if that is known. Istio does not choose it by itself
// for gateways (istio.io/istio v1.31, manifests/charts/istio-control/istio-discovery,
// files/gateway-injection-template.yaml has no label security.istio.io/tlsMode).
func (p *plan) speaksMutualTLS(number uint32) bool {
	dr := p.Mesh.DestinationRule(p.vs.GetNamespace(), p.gateway.Service, p.gateway.Namespace())
	if dr == nil {
		return !p.Mesh.Complete(analysis.DestinationRule)
	}
	return tlsMode(dr, number) == networking.ClientTLSSettings_ISTIO_MUTUAL
}

func servesHTTP(s *networking.Server) bool {
	proto := port.Parse(s.GetPort().GetProtocol())
	return proto.HTTPLike() || proto.TLSLike() && !servesTLS(s)
}

func servesTLS(s *networking.Server) bool {
	return port.Parse(s.GetPort().GetProtocol()).TLSLike() && s.GetTls().GetMode() == networking.ServerTLSSettings_PASSTHROUGH
}

func servesTCP(s *networking.Server) bool { return port.Parse(s.GetPort().GetProtocol()) == port.TCP }

// admits reports whether a server takes a host from VirtualServices of the
// namespace: its hosts are "host" or "namespace/host".
func (p *plan) admits(gw *networkingv1.Gateway, s *networking.Server, h string) bool {
	return slices.ContainsFunc(s.GetHosts(), func(entry string) bool {
		from, name, ok := strings.Cut(entry, "/")
		if !ok {
			from, name = "*", entry
		}
		if from == "." {
			from = gw.GetNamespace()
		}
		return (from == "*" || from == p.vs.GetNamespace()) && host.Covers(host.Normal(name), h)
	})
}
