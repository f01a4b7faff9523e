// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/waypoint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var waypointRule = &analysis.Rule{
	Name:     "serviceentry/waypoint",
	Severity: analysis.Off,
	Doc: `external hosts must be behind the egress waypoint

In an ambient mesh ztunnel sends requests for an external host straight out,
unless a waypoint stands before it. Then policies on hosts, paths and methods, and
on who may call, apply there.

Where a policy has waypoint.mode: Require, a service entry that leads out of the
mesh, in a namespace of the ambient mesh, must be bound to one of the waypoints of
the configuration, or to the one that the policy names: by the labels
istio.io/use-waypoint and istio.io/use-waypoint-namespace, on itself or else on
its namespace. The label on the service entry counts more, so 'none' there opts
out, and so do an empty one and a gateway.istio.io/managed as Istio's own gateways
have it. istio.io/use-waypoint-canary must not lead elsewhere either. Without such a
policy the rule is off.

Set the two labels. A waypoint that is bound does not keep workloads from going
out past it: that needs a NetworkPolicy.`,
	Reads: []*analysis.Kind{analysis.Namespace},
	Run:   analysis.On(checkWaypoint),
}

func checkWaypoint(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	required := pass.Policy.Waypoint.Mode == policy.ModeRequire
	if !required && !names(pass.Policy, pass.Rule) || egress(pass.Config, se) == inside {
		return
	}
	namespace := pass.Mesh.Object(analysis.Namespace, "", se.GetNamespace())
	if namespace == nil && !pass.Mesh.Complete(analysis.Namespace) {
		pass.NotEvaluated("the labels of the namespace are not known")
		return
	}
	if !waypoint.IsAmbient(pass.Config, namespace) {
		return
	}
	severity := analysis.Off
	if required {
		severity = analysis.Error
	}
	labels := field.NewPath("metadata", "labels")
	approved := pass.Policy.Waypoint.Name
	switch bound := waypoint.Bound(se, waypoint.Use, waypoint.UseNamespace); {
	case bound == "" && (namespace == nil || !isApproved(pass, waypoint.Bound(namespace, waypoint.Use, waypoint.UseNamespace))):
		pass.ReportAs(severity, field.Required(labels.Key(waypoint.Use), howTo(approved, "must bind to a waypoint, else requests leave past it")))
	case bound != "" && !isApproved(pass, bound):
		pass.ReportAs(severity, field.Invalid(labels.Key(waypoint.Use), bound, howTo(approved, "must bind to an egress waypoint")))
	}
	if waypoint.IsWaypoint(se) {
		pass.ReportAs(severity, field.Invalid(labels.Key(waypoint.Managed), se.GetLabels()[waypoint.Managed],
			"must not be what Istio's own gateways have, since no waypoint stands before these; remove the label"))
	}
	if canary := waypoint.Bound(se, waypoint.Canary, waypoint.CanaryNamespace); se.GetLabels()[waypoint.Canary] != "" && canary != waypoint.None && !isApproved(pass, canary) {
		pass.ReportAs(severity, field.Invalid(labels.Key(waypoint.Canary), canary, howTo(approved, "must bind to an egress waypoint")))
	}
}

// howTo says how to bind to a waypoint, after what is wrong.
func howTo(name, wrong string) string {
	namespace, object, _ := strings.Cut(name, "/")
	return fmt.Sprintf("%s; set the labels `%s: %s` and `%s: %s`", wrong, waypoint.Use, object, waypoint.UseNamespace, namespace)
}

func isApproved(pass *analysis.Pass, name string) bool {
	return name != "" && (name == pass.Policy.Waypoint.Name || slices.Contains(pass.Config.Mesh.Waypoints, name))
}
