// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"slices"
	"strings"

	typev1beta1 "istio.io/api/type/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
)

// The kinds that targetRefs may name, with their groups.
const (
	kindGateway      = "Gateway"
	kindGatewayClass = "GatewayClass"
	kindServiceEntry = "ServiceEntry"
	kindService      = "Service"
)

// A guard is what an AuthorizationPolicy stands before of the ways out of the mesh.
type guard struct {
	// gateways are the egress gateways whose pods it selects.
	gateways []*config.EgressGateway
	// waypoint is set if it applies at a waypoint: to an egress waypoint, or to
	// a ServiceEntry, which only has policies there.
	waypoint bool
}

// isNone reports whether the policy guards no way out.
func (g guard) isNone() bool { return len(g.gateways) == 0 && !g.waypoint }

// conventional is the egress gateway of a configuration that names none: pods with
// the label that Istio's charts give them.
var conventional = &config.EgressGateway{Name: "default", Selector: map[string]string{"istio": "egressgateway"}}

// guardOf returns what a policy guards.
func guardOf(c *config.Configuration, ap *securityv1.AuthorizationPolicy) guard {
	refs := targetRefs(ap)
	if len(refs) > 0 {
		return guard{waypoint: slices.ContainsFunc(refs, func(r *typev1beta1.PolicyTargetReference) bool {
			return guardsWaypoint(c, ap.GetNamespace(), r)
		})}
	}
	selector := ap.Spec.GetSelector().GetMatchLabels()
	var g guard
	if len(c.Mesh.EgressGateways) == 0 {
		if selector["istio"] == conventional.Selector["istio"] {
			g.gateways = append(g.gateways, conventional)
		}
		return g
	}
	for i := range c.Mesh.EgressGateways {
		gateway := &c.Mesh.EgressGateways[i]
		if inReach(c, ap.GetNamespace(), gateway) && isSubset(selector, gateway.Selector) {
			g.gateways = append(g.gateways, gateway)
		}
	}
	return g
}

// inReach reports whether a policy of the namespace may select the gateway's pods.
func inReach(c *config.Configuration, namespace string, gateway *config.EgressGateway) bool {
	own, _ := serviceOf(gateway)
	return namespace == own || namespace == c.Mesh.RootNamespace
}

// serviceOf returns namespace and name of a gateway's Service, which are empty if
// none is configured. Its pods are in the same namespace.
func serviceOf(gateway *config.EgressGateway) (namespace, name string) {
	name, rest, _ := strings.Cut(gateway.Service, ".")
	namespace, _, _ = strings.Cut(rest, ".")
	return namespace, name
}

func guardsWaypoint(c *config.Configuration, namespace string, r *typev1beta1.PolicyTargetReference) bool {
	switch r.GetKind() {
	case kindGateway:
		return slices.Contains(c.Mesh.Waypoints, namespace+"/"+r.GetName())
	case kindGatewayClass:
		return r.GetName() == "istio-waypoint"
	default:
		return r.GetKind() == kindServiceEntry
	}
}

func targetRefs(ap *securityv1.AuthorizationPolicy) []*typev1beta1.PolicyTargetReference {
	refs := ap.Spec.GetTargetRefs()
	if r := ap.Spec.GetTargetRef(); r != nil {
		refs = append(slices.Clip(refs), r)
	}
	return refs
}

func isSubset(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// unknownGateways is why a rule does not judge what depends on Gateways.
const unknownGateways = "the Gateways of the egress gateway are not known"

// guards reports whether a policy guards a way out, for rules that ask no more.
func guards(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) bool {
	return !guardOf(pass.Config, ap).isNone()
}
