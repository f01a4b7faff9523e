// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var exportScope = &analysis.Rule{
	Name:     "egress/export-scope",
	Severity: analysis.Warning,
	Doc: `a tenant's objects should stay in its namespace

A ServiceEntry, VirtualService or DestinationRule without exportTo is seen by
the proxies of every namespace, unless MeshConfig has another default. So what
one team declares decides how the workloads of all others resolve a host, where
their requests go and how TLS is done.

The rule looks at these kinds outside of the platform namespaces and asks
whether another namespace sees the object: by exportTo or, where it is empty,
by the mesh's default. A namespace listed by name is another one too, unless it
is a platform namespace: gateways there must see the routes that lead through
them. A VirtualService without hosts has no effect until another one delegates
to it, so only an exportTo of its own counts. A DestinationRule with a
workloadSelector stays in its namespace whatever exportTo says.

In an ambient mesh ztunnel and waypoints do not look at the exportTo of a
ServiceEntry: every namespace sees it. There the rule reports any that is meant
to be private. With serviceEntryVisibility in MeshConfig, since Istio 1.31, the
platform team can limit it after all, and then turn this rule off or exempt
those ServiceEntries.

Set exportTo to ["."]. Where other namespaces are to have the object, list them
and get an exemption for it.`,
	Run: slices.Concat(
		analysis.On(checkServiceEntryScope),
		analysis.On(checkVirtualServiceScope),
		analysis.On(checkDestinationRuleScope),
	),
}

func checkServiceEntryScope(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	e := export{
		scope: visibility.OfServiceEntry(pass.Config, se), to: se.Spec.GetExportTo(), defaults: pass.Config.Mesh.DefaultExportTo.ServiceEntry,
	}
	if e.check(pass, se) || pass.Config.Mesh.DataPlane != config.DataPlaneAmbient || pass.Config.IsPlatform(se.GetNamespace()) {
		return
	}
	pass.Report(field.Invalid(exportToPath, strings.Join(e.effective(), ", "),
		"is not enforced by ztunnel and waypoints, so that every namespace sees the ServiceEntry; limit it by `serviceEntryVisibility` in MeshConfig"))
}

func checkVirtualServiceScope(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	if len(vs.Spec.GetHosts()) == 0 && len(vs.Spec.GetExportTo()) == 0 {
		return
	}
	e := export{
		scope: visibility.OfVirtualService(pass.Config, vs), to: vs.Spec.GetExportTo(), defaults: pass.Config.Mesh.DefaultExportTo.VirtualService,
	}
	e.check(pass, vs)
}

func checkDestinationRuleScope(pass *analysis.Pass, dr *networkingv1.DestinationRule) {
	e := export{
		scope: visibility.OfDestinationRule(pass.Config, dr), to: dr.Spec.GetExportTo(), defaults: pass.Config.Mesh.DefaultExportTo.DestinationRule,
	}
	e.check(pass, dr)
}

// An export is what an object and the mesh say about who sees it.
type export struct {
	scope        visibility.Scope
	to, defaults []string
}

var exportToPath = field.NewPath("spec", "exportTo")

func (e *export) effective() []string {
	if len(e.to) == 0 {
		return e.defaults
	}
	return e.to
}

// check reports the entries of exportTo, or their absence, by which a namespace
// sees the object that should not, and whether there are any.
func (e *export) check(pass *analysis.Pass, obj metav1.Object) bool {
	own := obj.GetNamespace()
	if pass.Config.IsPlatform(own) || !e.scope.Crosses(own) {
		return false
	}
	foreign := func(to string) bool {
		return to != "." && to != "~" && to != own && !pass.Config.IsPlatform(to)
	}
	if len(e.to) == 0 {
		return e.checkDefaults(pass, foreign)
	}
	for i, to := range e.to {
		switch {
		case to == "*":
			pass.Report(field.Invalid(exportToPath.Index(i), to, "must not be every namespace; write '.' or list the namespaces that need the object"))
		case foreign(to):
			pass.Report(field.Invalid(exportToPath.Index(i), to, fmt.Sprintf(
				"must not export the object to namespace '%s' without an exemption; write '.' to keep it in its own", to)))
		}
	}
	return slices.ContainsFunc(e.to, foreign)
}

func (e *export) checkDefaults(pass *analysis.Pass, foreign func(string) bool) bool {
	names := slices.DeleteFunc(slices.Clone(e.defaults), func(to string) bool { return !foreign(to) })
	if len(names) == 0 {
		return false
	}
	who := "every namespace sees"
	if !slices.Contains(names, "*") {
		who = "by the mesh's default namespaces '" + strings.Join(names, "', '") + "' see"
	}
	pass.Report(field.Required(exportToPath, fmt.Sprintf(
		"without it %s the object; write `exportTo: [\".\"]` or list the namespaces that need it", who)))
	return true
}
