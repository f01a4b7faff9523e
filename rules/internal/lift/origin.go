// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// An origin says who has bound routes to an egress gateway.
type origin int

const (
	// unbound: nobody, or somebody in a way that is not understood here.
	unbound origin = iota
	// lifted: a lift.
	lifted
	// reverted: a lift, whose routes were written over. Only the VirtualService
	// is bound to both the mesh and the gateway, and no route says to which.
	reverted
	// byHand: a team, as Istio's documentation has it, rightly or not quite. That
	// is led like other routes, but never taken away: who wrote it meant it.
	byHand
)

func originOf(c *config.Configuration, vs *networkingv1.VirtualService) origin {
	mark, marked := vs.GetAnnotations()[Annotation]
	switch {
	case mark == ByHand && (hasLegs(c, vs) || isBoundByHand(c, vs)):
		return byHand
	case marked || slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool { return isNamedLeg(r) || isGenerated(c, vs, r) }):
		return lifted
	case isHalfBound(c, vs):
		return reverted
	case isBoundByHand(c, vs):
		return byHand
	default:
		return unbound
	}
}

// hasLegs reports whether there is a named leg, as a lift leaves it.
func hasLegs(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	return slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool { return isNamedLeg(r) || isGenerated(c, vs, r) })
}

// isHalfBound reports whether a VirtualService is bound to the mesh and an egress
// gateway, and no route says to which.
func isHalfBound(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	return isBoundToBoth(c, vs) && !slices.ContainsFunc(kindsOf(c, vs), func(k kind) bool { return k.named > 0 || k.led > 0 })
}

// isBoundByHand reports whether each route is either for the mesh, leads all there is
// to an egress gateway and does nothing else, or for that gateway. Routes of one kind
// may also say nothing at all, if the VirtualService is bound to both.
func isBoundByHand(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	if !route.AppliesToMesh(vs) {
		return false
	}
	some := false
	for _, k := range kindsOf(c, vs) {
		if k.led < k.routes && (k.named > 0 || !isBoundToBoth(c, vs)) {
			return false
		}
		some = some || k.led > 0
	}
	return some
}

// A kind counts the routes of one kind.
type kind struct {
	// routes are all, named those with a match that names other gateways than the
	// mesh, and led those that lead to an egress gateway or on from there, and do
	// nothing else.
	routes, named, led int
}

func kindsOf(c *config.Configuration, vs *networkingv1.VirtualService) []kind {
	var http, tls, tcp kind
	for _, r := range vs.Spec.GetHttp() {
		http.count(gatewaysOf(r.GetMatch()), isHTTPLegByHand(c, vs, r) || isForGateway(c, vs, r.GetMatch()))
	}
	for _, r := range vs.Spec.GetTls() {
		tls.count(gatewaysOf(r.GetMatch()), isTLSLegByHand(c, vs, r) || isForGateway(c, vs, r.GetMatch()))
	}
	for _, r := range vs.Spec.GetTcp() {
		tcp.count(gatewaysOf(r.GetMatch()), isTCPLegByHand(c, vs, r) || isForGateway(c, vs, r.GetMatch()))
	}
	return []kind{http, tls, tcp}
}

func (k *kind) count(gateways [][]string, led bool) {
	k.routes++
	if led {
		k.led++
	}
	if slices.ContainsFunc(gateways, func(g []string) bool { return len(g) > 0 && !isMesh(g) }) {
		k.named++
	}
}

// isForGateway reports whether a route is for egress gateways by each of its matches.
func isForGateway[M match](c *config.Configuration, vs *networkingv1.VirtualService, matches []M) bool {
	return len(matches) > 0 && !slices.ContainsFunc(matches, func(m M) bool { return !isBound(c, vs, m.GetGateways()) })
}

func isBoundToBoth(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	gateways := vs.Spec.GetGateways()
	return slices.Contains(gateways, route.Mesh) &&
		slices.ContainsFunc(gateways, func(g string) bool { return isBound(c, vs, []string{g}) })
}

func gatewaysOf[M match](matches []M) [][]string {
	all := make([][]string, 0, len(matches))
	for _, m := range matches {
		all = append(all, m.GetGateways())
	}
	return all
}

// isHTTPLegByHand reports whether a route for the mesh leads to an egress gateway.
// Its name, timeout and retries are those of one hop, and may be other ones.
func isHTTPLegByHand(c *config.Configuration, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	only := &networking.HTTPRoute{Name: r.GetName(), Match: r.GetMatch(), Route: r.GetRoute(), Timeout: r.GetTimeout(), Retries: r.GetRetries()}
	return proto.Equal(only, r) && onlyForMesh(r.GetMatch()) && len(r.GetRoute()) == 1 && r.GetRoute()[0].GetHeaders() == nil &&
		meansGateway(c, vs, r.GetRoute()[0].GetDestination()) &&
		!slices.ContainsFunc(r.GetMatch(), func(m *networking.HTTPMatchRequest) bool {
			return !proto.Equal(m, &networking.HTTPMatchRequest{Gateways: m.GetGateways(), Port: m.GetPort()})
		})
}

func isTLSLegByHand(c *config.Configuration, vs *networkingv1.VirtualService, r *networking.TLSRoute) bool {
	return onlyForMesh(r.GetMatch()) && len(r.GetRoute()) == 1 && meansGateway(c, vs, r.GetRoute()[0].GetDestination()) &&
		!slices.ContainsFunc(r.GetMatch(), func(m *networking.TLSMatchAttributes) bool {
			return !proto.Equal(m, &networking.TLSMatchAttributes{Gateways: m.GetGateways(), Port: m.GetPort(), SniHosts: m.GetSniHosts()})
		})
}

func isTCPLegByHand(c *config.Configuration, vs *networkingv1.VirtualService, r *networking.TCPRoute) bool {
	return onlyForMesh(r.GetMatch()) && len(r.GetRoute()) == 1 && meansGateway(c, vs, r.GetRoute()[0].GetDestination()) &&
		!slices.ContainsFunc(r.GetMatch(), func(m *networking.L4MatchAttributes) bool {
			return !proto.Equal(m, &networking.L4MatchAttributes{Gateways: m.GetGateways(), Port: m.GetPort(), DestinationSubnets: m.GetDestinationSubnets()})
		})
}
