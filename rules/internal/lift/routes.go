// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// checkRoutes looks for what a gateway would do otherwise than a sidecar.
func (p *plan) checkRoutes() string {
	for _, r := range p.draft.Spec.GetHttp() {
		if reason := p.checkHTTP(r); reason != "" {
			return reason
		}
	}
	for _, r := range p.draft.Spec.GetTls() {
		if reason := p.checkL4(matchesOf(r.GetMatch(), tlsMatch), destinations(r.GetRoute()), p.tls); reason != "" {
			return reason
		}
	}
	for _, r := range p.draft.Spec.GetTcp() {
		if reason := p.checkTCP(r); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *plan) checkHTTP(r *networking.HTTPRoute) string {
	for _, m := range r.GetMatch() {
		if reason := checkHTTPMatch(m, p.http); reason != "" {
			return reason
		}
	}
	for _, d := range httpDestinations(r) {
		if _, reason := p.destination(d, p.http, true); reason != "" {
			return reason
		}
	}
	if reason := p.checkRedirect(r.GetRedirect()); reason != "" {
		return reason
	}
	if r.GetDelegate() != nil {
		return p.checkDelegate(r.GetDelegate())
	}
	return ""
}

// checkRedirect looks whether a redirect leads to the port that the client used, for
// which istiod puts that of the listener.
func (p *plan) checkRedirect(r *networking.HTTPRedirect) string {
	if r.GetDerivePort() == networking.HTTPRedirect_FROM_REQUEST_PORT && p.http != p.gateway.Ports.HTTP {
		return fmt.Sprintf("a redirect has `derivePort: FROM_REQUEST_PORT`, which is another port at the gateway; write `port: %d`", p.http)
	}
	return ""
}

func checkHTTPMatch(m *networking.HTTPMatchRequest, number uint32) string {
	switch {
	case len(m.GetGateways()) > 0:
		return partly
	case len(m.GetSourceLabels()) > 0, m.GetSourceNamespace() != "":
		return "a match has `sourceLabels` or `sourceNamespace`, which a gateway would compare with its own; remove them"
	case m.GetScheme() != nil:
		return "a match has `scheme`, which is not the same at the gateway; remove it"
	case m.GetPort() != 0 && m.GetPort() != number:
		return fmt.Sprintf("a match has the port %d, and clients use %d; remove it", m.GetPort(), number)
	}
	return ""
}

// checkDelegate looks at a VirtualService that the routes delegate to. It is not
// changed, so that it must mean the same at the gateway as it stands.
func (p *plan) checkDelegate(d *networking.Delegate) string {
	namespace := d.GetNamespace()
	if namespace == "" {
		namespace = p.vs.GetNamespace()
	}
	name := namespace + "/" + d.GetName()
	if p.delegates[name] {
		return ""
	}
	p.delegates[name] = true
	to, _ := p.Mesh.Object(analysis.VirtualService, namespace, d.GetName()).(*networkingv1.VirtualService)
	if to == nil {
		if p.Mesh.Complete(analysis.VirtualService) {
			p.await()
			return fmt.Sprintf("there is no VirtualService '%s' to delegate to; apply this again when there is one", name)
		}
		return ""
	}
	for _, r := range to.Spec.GetHttp() {
		for _, m := range r.GetMatch() {
			if reason := checkHTTPMatch(m, p.http); reason != "" {
				return fmt.Sprintf("in the delegate '%s' %s", name, reason)
			}
			if m.GetPort() != 0 && m.GetPort() != p.gateway.Ports.HTTP {
				return fmt.Sprintf("a match in the delegate '%s' has a port, which is not the gateway's; remove it", name)
			}
		}
		if reason := p.checkRedirect(r.GetRedirect()); reason != "" {
			return fmt.Sprintf("in the delegate '%s' %s", name, reason)
		}
		for _, dest := range httpDestinations(r) {
			number, reason := p.destinationFrom(namespace, dest, p.http, true)
			if reason != "" {
				return fmt.Sprintf("in the delegate '%s' %s", name, reason)
			}
			if at, _ := p.destinationFrom(namespace, dest, p.gateway.Ports.HTTP, true); at != number {
				return fmt.Sprintf("the delegate '%s' does not say which port of '%s' it means; add `port`", name, dest.GetHost())
			}
		}
	}
	return ""
}

// An l4Match is what TLS and TCP matches have in common.
type l4Match struct {
	gateways, subnets []string
	source            bool
	port              uint32
}

func tlsMatch(m *networking.TLSMatchAttributes) l4Match {
	return l4Match{m.GetGateways(), m.GetDestinationSubnets(), len(m.GetSourceLabels()) > 0 || m.GetSourceNamespace() != "", m.GetPort()}
}

func tcpMatch(m *networking.L4MatchAttributes) l4Match {
	source := len(m.GetSourceLabels()) > 0 || m.GetSourceNamespace() != "" || m.GetSourceSubnet() != ""
	return l4Match{m.GetGateways(), m.GetDestinationSubnets(), source, m.GetPort()}
}

func matchesOf[M any](matches []M, of func(M) l4Match) []l4Match {
	all := make([]l4Match, 0, len(matches))
	for _, m := range matches {
		all = append(all, of(m))
	}
	return all
}

func (p *plan) checkL4(matches []l4Match, to []*networking.Destination, number uint32) string {
	for _, m := range matches {
		switch {
		case len(m.gateways) > 0:
			return partly
		case m.source:
			return "a match is on the source of connections, which for a gateway is the sidecar; remove it"
		case len(m.subnets) > 0:
			return "a match has `destinationSubnets`, and at the gateway all connections have the same destination; remove them"
		case m.port != 0 && m.port != number:
			return fmt.Sprintf("a match has the port %d, and clients use %d; remove it", m.port, number)
		}
	}
	for _, d := range to {
		if _, reason := p.destination(d, number, false); reason != "" {
			return reason
		}
	}
	return ""
}

// checkTCP looks at a TCP route, whose matches say which of the ports it is for.
func (p *plan) checkTCP(r *networking.TCPRoute) string {
	matches := matchesOf(r.GetMatch(), tcpMatch)
	if len(matches) == 0 {
		matches = []l4Match{{}}
	}
	for _, m := range matches {
		number := m.port
		if number == 0 && len(p.tcp) == 1 {
			number = p.tcp[0].Port
		}
		if !slices.ContainsFunc(p.tcpPorts(), func(n uint32) bool { return n == number }) {
			return "a tcp route does not say which port it is for; add a match with one `port` of the ServiceEntry"
		}
		if len(matches) > 1 && slices.ContainsFunc(r.GetRoute(), func(d *networking.RouteDestination) bool { return d.GetDestination().GetPort() == nil }) {
			return "a tcp route for several ports does not say which port of its destination it means; write a route for each"
		}
		if reason := p.checkL4([]l4Match{m}, destinations(r.GetRoute()), number); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *plan) tcpPorts() []uint32 {
	var ports []uint32
	for _, t := range p.tcp {
		ports = append(ports, t.Port)
	}
	return ports
}
