// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/optout"
	"github.com/sallyport-dev/sallyport/rules/internal/waypoint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var waypointLabels = &analysis.Mutator{
	Name: "mutate/waypoint",
	Doc: `bind external hosts of the ambient mesh to the egress waypoint

In an ambient mesh ztunnel sends requests for an external host straight out, unless
a waypoint stands before it. Where a policy's waypoint has mode Inject or Require, a
ServiceEntry that leads out of the mesh, in a namespace of the ambient mesh, gets the
labels istio.io/use-waypoint and, if the waypoint is in another namespace,
istio.io/use-waypoint-namespace.

A ServiceEntry that has the first label keeps it, whatever its value: 'none' says
that there shall be no waypoint. One whose namespace is bound to one of the
configuration's waypoints, or to the policy's, needs none. Hosts inside the mesh are
left alone.

The waypoint must admit the ServiceEntry's namespace (allowedRoutes.namespaces of its
Gateway), and with serviceEntryVisibility in MeshConfig the ServiceEntry must be
public for a waypoint of another namespace; Istio reports otherwise in its status. A
waypoint that is bound does not keep workloads from going out past it: that needs a
NetworkPolicy.

To opt out, set the label to 'none', or annotate the object with
sallyport.dev/inject: none. The annotation counts for nothing where the policy's
gateway or waypoint has mode Require.`,
	Reads: []*analysis.Kind{analysis.Namespace},
	Apply: analysis.To(bindToWaypoint),
}

func bindToWaypoint(edit *analysis.Edit, se *networkingv1.ServiceEntry) {
	approved := edit.Policy.Waypoint
	if approved.Mode == policy.ModeOff || !optout.Wants(edit.Policy, edit.Mutator.Name, se) || !leadsOut(edit, se) {
		return
	}
	if _, ok := se.GetLabels()[waypoint.Use]; ok {
		return
	}
	namespace := edit.Mesh.Object(analysis.Namespace, "", se.GetNamespace())
	if !waypoint.IsAmbient(edit.Config, namespace) {
		return
	}
	if namespace != nil {
		if bound := waypoint.Bound(namespace, waypoint.Use, waypoint.UseNamespace); bound == approved.Name || slices.Contains(edit.Config.Mesh.Waypoints, bound) {
			return
		}
	}
	from, name, _ := strings.Cut(approved.Name, "/")
	se.Labels = setKey(edit, labelsPath, se.Labels, waypoint.Use, name)
	if from != se.GetNamespace() || se.GetLabels()[waypoint.UseNamespace] != "" {
		se.Labels = setKey(edit, labelsPath, se.Labels, waypoint.UseNamespace, from)
	}
}

func leadsOut(edit *analysis.Edit, se *networkingv1.ServiceEntry) bool {
	return se.Spec.GetLocation() != networking.ServiceEntry_MESH_INTERNAL ||
		slices.ContainsFunc(se.Spec.GetHosts(), func(h string) bool { return !host.Internal(host.Normal(h), &edit.Config.Mesh, nil) })
}
