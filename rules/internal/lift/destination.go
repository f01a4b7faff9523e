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
