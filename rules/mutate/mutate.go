// SPDX-License-Identifier: Apache-2.0

// Package mutate holds the mutators: what Sallyport fills in where the user said
// nothing.
package mutate

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Mutators are all mutators, in the order in which they are applied: the time
// that retries may take depends on the timeout.
var Mutators = []*analysis.Mutator{
	timeout,
	retries,
}

// InjectAnnotation says which mutators may change an object: their names
// separated by commas, or "none". Without it all may, and so they may where the
// policy requires that traffic goes through a gateway or waypoint.
const InjectAnnotation = "sallyport.dev/inject"

// MayChange reports whether there is something to fill in at all: an HTTP route
// without a timeout or without retries. The API server asks Sallyport about no
// other VirtualServices: the matchCondition "something-to-fill-in" of
// deploy/webhooks.yaml says the same in CEL.
func MayChange(vs *networkingv1.VirtualService) bool {
	return slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool {
		return r.GetTimeout() == nil || r.GetRetries() == nil
	})
}

// meshLegPrefix begins the names of routes that Sallyport has injected to lead
// traffic to the egress gateway; they are complete as they are.
const meshLegPrefix = "sallyport-mesh-"

func isWanted(edit *analysis.Edit, obj analysis.Object) bool {
	list, ok := obj.GetAnnotations()[InjectAnnotation]
	if !ok || edit.Policy.Gateway.Mode == policy.ModeRequire || edit.Policy.Waypoint.Mode == policy.ModeRequire {
		return true
	}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == edit.Mutator.Name || "mutate/"+name == edit.Mutator.Name {
			return true
		}
	}
	return false
}

// egressRoutes yields the HTTP routes that defaults are for: those on which
// sidecars or egress gateways forward to hosts outside the mesh and nowhere
// else. On redirects, direct responses and delegations a proxy waits for nobody,
// and with fault injection it uses neither timeout nor retries.
func egressRoutes(edit *analysis.Edit, vs *networkingv1.VirtualService) func(yield func(int, *networking.HTTPRoute) bool) {
	return func(yield func(int, *networking.HTTPRoute) bool) {
		if !isWanted(edit, vs) {
			return
		}
		for i, r := range vs.Spec.GetHttp() {
			if isForward(r) && route.AppliesToEgress(edit.Config, vs, r) && leadsOnlyOut(edit, vs, r) && !yield(i, r) {
				return
			}
		}
	}
}

func isForward(r *networking.HTTPRoute) bool {
	return len(r.GetRoute()) > 0 && r.GetRedirect() == nil && r.GetDirectResponse() == nil && r.GetDelegate() == nil &&
		r.GetFault() == nil && !strings.HasPrefix(r.GetName(), meshLegPrefix)
}

func leadsOnlyOut(edit *analysis.Edit, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	return !slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool {
		_, external := route.External(edit.Config, edit.Mesh, vs.GetNamespace(), d.GetDestination())
		return !external
	})
}
