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

func isHalfBound(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	gateways := vs.Spec.GetGateways()
	return slices.Contains(gateways, route.Mesh) &&
		slices.ContainsFunc(gateways, func(g string) bool { return isBound(c, vs, []string{g}) }) &&
		!slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool { return namesGateways(r.GetMatch()) }) &&
		!slices.ContainsFunc(vs.Spec.GetTls(), func(r *networking.TLSRoute) bool { return namesGateways(r.GetMatch()) }) &&
		!slices.ContainsFunc(vs.Spec.GetTcp(), func(r *networking.TCPRoute) bool { return namesGateways(r.GetMatch()) })
}

// isBoundByHand reports whether each route is either for the mesh, leads all there is
// to an egress gateway and does nothing else, or for that gateway.
func isBoundByHand(c *config.Configuration, vs *networkingv1.VirtualService) bool {
	spec := &vs.Spec
	if len(spec.GetHttp())+len(spec.GetTls())+len(spec.GetTcp()) == 0 || !route.AppliesToMesh(vs) {
		return false
	}
	isLed := func(matches [][]string, leg bool) bool {
		return leg || len(matches) > 0 && !slices.ContainsFunc(matches, func(g []string) bool { return !isBound(c, vs, g) })
	}
	return !slices.ContainsFunc(spec.GetHttp(), func(r *networking.HTTPRoute) bool {
		return !isLed(gatewaysOf(r.GetMatch()), isHTTPLegByHand(c, vs, r))
	}) && !slices.ContainsFunc(spec.GetTls(), func(r *networking.TLSRoute) bool {
		return !isLed(gatewaysOf(r.GetMatch()), isTLSLegByHand(c, vs, r))
	}) && !slices.ContainsFunc(spec.GetTcp(), func(r *networking.TCPRoute) bool {
		return !isLed(gatewaysOf(r.GetMatch()), isTCPLegByHand(c, vs, r))
	})
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
