// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/optout"
)

var exportTo = &analysis.Mutator{
	Name: "mutate/export-to",
	Doc: `give objects the policy's exportTo

A ServiceEntry, VirtualService or DestinationRule without exportTo is seen by the
proxies of every namespace, unless MeshConfig has another default: one team then
decides how the workloads of all others reach a host. A policy with
defaults.exportTo, such as ["."], fills in what the team forgot. The built-in policy
has none.

An exportTo that is there stays as it is. Left alone are platform namespaces, which
declare for all; delegates, which have no hosts and which only others that delegate
to them see; and DestinationRules with a workloadSelector, which stay in their
namespace in any case. ztunnel and waypoints do not look at exportTo.

To opt out, write exportTo: ["*"], or annotate the object with sallyport.dev/inject:
none. The annotation counts for nothing where the policy's gateway or waypoint has
mode Require.`,
	Apply: slices.Concat(analysis.To(exportEntry), analysis.To(exportRoutes), analysis.To(exportDestinationRule)),
}

func exportEntry(edit *analysis.Edit, se *networkingv1.ServiceEntry) {
	fillExportTo(edit, se, &se.Spec.ExportTo)
}

func exportRoutes(edit *analysis.Edit, vs *networkingv1.VirtualService) {
	if len(vs.Spec.GetHosts()) > 0 {
		fillExportTo(edit, vs, &vs.Spec.ExportTo)
	}
}

func exportDestinationRule(edit *analysis.Edit, dr *networkingv1.DestinationRule) {
	if dr.Spec.GetWorkloadSelector() == nil {
		fillExportTo(edit, dr, &dr.Spec.ExportTo)
	}
}

func fillExportTo(edit *analysis.Edit, obj analysis.Object, list *[]string) {
	to := edit.Policy.Defaults.ExportTo
	if len(*list) > 0 || len(to) == 0 || edit.Config.IsPlatform(obj.GetNamespace()) || !optout.Wants(edit.Policy, edit.Mutator.Name, obj) {
		return
	}
	*list = slices.Clone(to)
	edit.Set(exportToPath, *list)
}
