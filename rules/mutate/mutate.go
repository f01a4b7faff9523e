// SPDX-License-Identifier: Apache-2.0

// Package mutate holds the mutators: what Sallyport fills in where the user said
// nothing.
package mutate

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/lift"
	"github.com/sallyport-dev/sallyport/rules/internal/optout"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// Mutators are all mutators, in the order in which they are applied: the time
// that retries may take depends on the timeout, and how long the mesh waits for the
// gateway on both.
var Mutators = []*analysis.Mutator{
	timeout,
	retries,
	exportTo,
	gatewayRoute,
	waypointLabels,
}

// MayChange reports whether there is something to fill in at all: an HTTP route
// without a timeout or without retries, or a host that has a dot, as those outside
// the mesh have. The API server asks Sallyport about no other VirtualServices: the
// matchCondition "something-to-fill-in" of deploy/webhooks.yaml says the same in CEL.
func MayChange(vs *networkingv1.VirtualService) bool {
	return slices.ContainsFunc(vs.Spec.GetHosts(), func(h string) bool { return strings.Contains(h, ".") }) ||
		slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool {
			return r.GetTimeout() == nil || r.GetRetries() == nil
		})
}

// egressRoutes yields the HTTP routes that defaults are for: those on which
// sidecars or egress gateways forward to hosts outside the mesh and nowhere
// else. On redirects, direct responses and delegations a proxy waits for nobody,
// and with fault injection it uses neither timeout nor retries.
func egressRoutes(edit *analysis.Edit, vs *networkingv1.VirtualService) func(yield func(int, *networking.HTTPRoute) bool) {
	return func(yield func(int, *networking.HTTPRoute) bool) {
		if !optout.Wants(edit.Policy, edit.Mutator.Name, vs) {
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
		r.GetFault() == nil && !strings.HasPrefix(r.GetName(), lift.NamePrefix)
}

func leadsOnlyOut(edit *analysis.Edit, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	return !slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool {
		_, external := route.External(edit.Config, edit.Mesh, vs.GetNamespace(), d.GetDestination())
		return !external
	})
}

// setKey records that the mutator has set a key of an object's labels or annotations.
func setKey(edit *analysis.Edit, path *field.Path, m map[string]string, key, value string) map[string]string {
	if m == nil {
		m = map[string]string{key: value}
		edit.Set(path, m)
		return m
	}
	m[key] = value
	edit.Set(path.Key(key), value)
	return m
}
