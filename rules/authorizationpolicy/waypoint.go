// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"fmt"

	typev1beta1 "istio.io/api/type/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/waypoint"
)

var waypointRule = &analysis.Rule{
	Name:     "authorizationpolicy/waypoint",
	Severity: analysis.Warning,
	Doc: `a policy for a waypoint must reach it

In an ambient mesh a policy for a service entry is enforced by the waypoint before
it, and reaches it only by targetRefs: a selector selects pods, and waypoints ignore
it.

The rule warns of targetRefs to a ServiceEntry or Service that is not in the
policy's namespace; of targetRefs to a service entry that no waypoint stands before,
by its own labels or by those of its namespace; and of a policy with a selector that
names the host of a service entry of the namespace with a waypoint.

Write targetRefs with group networking.istio.io, kind ServiceEntry and its name, and
label the service entry with istio.io/use-waypoint.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.Service, analysis.Namespace},
	Run:   analysis.On(checkWaypoint),
}

func checkWaypoint(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	for i, r := range ap.Spec.GetTargetRefs() {
		checkTarget(pass, ap, field.NewPath("spec", "targetRefs").Index(i), r)
	}
	if r := ap.Spec.GetTargetRef(); r != nil {
		checkTarget(pass, ap, field.NewPath("spec", "targetRef"), r)
	}
	if len(ap.Spec.GetSelector().GetMatchLabels()) > 0 {
		checkSelector(pass, ap)
	}
}

func checkTarget(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy, path *field.Path, r *typev1beta1.PolicyTargetReference) {
	kind := analysis.ServiceEntry
	switch {
	case r.GetKind() == kindServiceEntry:
	case r.GetKind() == kindService && r.GetGroup() == "":
		kind = analysis.Service
	default:
		return
	}
	target := pass.Mesh.Object(kind, ap.GetNamespace(), r.GetName())
	switch {
	case target == nil && !pass.Mesh.Complete(kind):
		pass.NotEvaluated("not all objects that targetRefs may name are known")
	case target == nil:
		err := field.NotFound(path.Child("name"), r.GetName())
		err.Detail = fmt.Sprintf("must be a %s of this namespace, else the policy applies to nothing; create it there, or move the policy", kind.Kind)
		pass.Report(err)
	case kind == analysis.ServiceEntry && !hasWaypoint(pass, target):
		pass.Report(field.Invalid(path.Child("name"), r.GetName(), fmt.Sprintf(
			"has no waypoint that could enforce the policy; label the ServiceEntry, or its namespace, with `%s`", waypoint.Use)))
	}
}

// hasWaypoint reports whether a waypoint stands before an object, as far as it is
// known: the labels of the namespace may count.
func hasWaypoint(pass *analysis.Pass, target analysis.Object) bool {
	namespace := pass.Mesh.Object(analysis.Namespace, "", target.GetNamespace())
	if waypoint.Of(target, namespace) != "" {
		return true
	}
	own := waypoint.Bound(target, waypoint.Use, waypoint.UseNamespace)
	return own == "" && namespace == nil && !pass.Mesh.Complete(analysis.Namespace)
}

// checkSelector looks for a host that the policy can only mean for a waypoint.
func checkSelector(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	for _, not := range []bool{false, true} {
		for l := range hostLists(ap, not) {
			for _, written := range l.values {
				h := host.Normal(host.TrimPort(written))
				if h == "" || host.IsWildcard(h) {
					continue
				}
				se := pass.Mesh.ServiceEntry(ap.GetNamespace(), h)
				if se == nil || se.GetNamespace() != ap.GetNamespace() || waypoint.Of(se, pass.Mesh.Object(analysis.Namespace, "", se.GetNamespace())) == "" {
					continue
				}
				pass.Report(field.Forbidden(field.NewPath("spec", "selector"), fmt.Sprintf(
					"should be `targetRefs` to ServiceEntry '%s', before which a waypoint stands: waypoints ignore selectors", se.GetName())))
				return
			}
		}
	}
}
