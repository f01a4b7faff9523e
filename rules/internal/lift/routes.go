// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/policy"
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
	if r.GetDelegate() != nil {
		return p.checkDelegate(r.GetDelegate())
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

// destination returns the port of a destination, as a sidecar that listens on a port
// of number listener understands it, or why the gateway cannot lead there.
func (p *plan) destination(d *networking.Destination, listener uint32, http bool) (number uint32, reason string) {
	return p.destinationFrom(p.vs.GetNamespace(), d, listener, http)
}

func (p *plan) destinationFrom(namespace string, d *networking.Destination, listener uint32, http bool) (number uint32, reason string) {
	h := host.Expand(d.GetHost(), namespace, p.Config.Mesh.ClusterDomain)
	number = d.GetPort().GetNumber()
	switch {
	case h == "" || host.Internal(h, &p.Config.Mesh, nil):
		return 0, fmt.Sprintf("a route leads to '%s' inside the mesh, which a gateway would reach with its own identity; write a VirtualService of its own for it", h)
	case d.GetSubset() != "":
		return 0, fmt.Sprintf("a route names the subset '%s' of '%s', which gateways may not see; remove it", d.GetSubset(), h)
	}
	se, reason := p.entry(h)
	if reason != "" {
		return 0, reason
	}
	own := slices.Contains(p.hosts, h)
	if own && slices.Contains(p.assumed, listener) {
		return cmp.Or(number, listener), ""
	}
	if se == nil {
		p.await()
		return 0, fmt.Sprintf("no ServiceEntry declares '%s'; apply this again when there is one", h)
	}
	if number == 0 && len(se.Spec.GetPorts()) == 1 {
		number = se.Spec.GetPorts()[0].GetNumber()
	}
	number = cmp.Or(number, listener)
	isOurs := se.GetNamespace() == namespace && p.Policy.Unlisted != policy.DenyUnlisted
	if !own && !isOurs && !approval.Allowed(p.Policy, h, []uint32{number}) {
		return 0, fmt.Sprintf("a route leads to '%s', which is none of the hosts; declare it in a ServiceEntry of this namespace, or have it added to `hosts.allowed` of the EgressPolicy", h)
	}
	i := slices.IndexFunc(se.Spec.GetPorts(), func(sp *networking.ServicePort) bool { return sp.GetNumber() == number })
	if i < 0 {
		return 0, fmt.Sprintf("'%s' has no port %d; add it to its ServiceEntry, or name another one", h, number)
	}
	if http {
		return number, p.checkTLS(se, h, se.Spec.GetPorts()[i])
	}
	return number, ""
}

// checkTLS looks whether the gateway begins TLS where sidecars do: else what was
// encrypted would leave the mesh as it is.
func (p *plan) checkTLS(se *networkingv1.ServiceEntry, h string, sp *networking.ServicePort) string {
	at := p.Mesh.DestinationRule(p.gateway.Namespace(), h, se.GetNamespace())
	if beginsTLS(at, sp.GetNumber()) {
		return ""
	}
	if here := p.Mesh.DestinationRule(p.vs.GetNamespace(), h, se.GetNamespace()); beginsTLS(here, sp.GetNumber()) {
		return fmt.Sprintf("DestinationRule '%s/%s' begins TLS to '%s', and the gateway does not see it; add '%s' to its `exportTo`",
			here.GetNamespace(), here.GetName(), h, p.gateway.Namespace())
	}
	if port.Parse(sp.GetProtocol()).TLSLike() && p.Mesh.Complete(analysis.DestinationRule) {
		return fmt.Sprintf("no DestinationRule that the gateway sees begins TLS to port %d of '%s'; create one in '%s'", sp.GetNumber(), h, p.gateway.Namespace())
	}
	return ""
}

func beginsTLS(dr *networkingv1.DestinationRule, number uint32) bool {
	mode := tlsMode(dr, number)
	return mode == networking.ClientTLSSettings_SIMPLE || mode == networking.ClientTLSSettings_MUTUAL
}

// tlsMode returns what a DestinationRule, which may be nil, says of a port.
func tlsMode(dr *networkingv1.DestinationRule, number uint32) networking.ClientTLSSettings_TLSmode {
	if dr == nil {
		return networking.ClientTLSSettings_DISABLE
	}
	settings := dr.Spec.GetTrafficPolicy().GetTls()
	for _, l := range dr.Spec.GetTrafficPolicy().GetPortLevelSettings() {
		if l.GetPort().GetNumber() == number {
			settings = l.GetTls()
		}
	}
	return settings.GetMode()
}

// destinationsOf yields all destinations of the routes, mirrors included.
func destinationsOf(spec *networking.VirtualService) iter.Seq[*networking.Destination] {
	return func(yield func(*networking.Destination) bool) {
		var all []*networking.Destination
		for _, r := range spec.GetHttp() {
			all = append(all, httpDestinations(r)...)
		}
		for _, r := range spec.GetTls() {
			all = append(all, destinations(r.GetRoute())...)
		}
		for _, r := range spec.GetTcp() {
			all = append(all, destinations(r.GetRoute())...)
		}
		slices.Values(all)(yield)
	}
}

func httpDestinations(r *networking.HTTPRoute) []*networking.Destination {
	all := destinations(r.GetRoute())
	if r.GetMirror() != nil {
		all = append(all, r.GetMirror())
	}
	for _, m := range r.GetMirrors() {
		all = append(all, m.GetDestination())
	}
	return all
}

func destinations[D interface {
	GetDestination() *networking.Destination
}](routes []D) []*networking.Destination {
	var all []*networking.Destination
	for _, d := range routes {
		all = append(all, d.GetDestination())
	}
	return all
}
