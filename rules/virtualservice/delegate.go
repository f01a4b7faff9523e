// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var delegate = &analysis.Rule{
	Name:     "virtualservice/delegate",
	Severity: analysis.Warning,
	Doc: `routes must be delegated within a namespace

A route that delegates takes whatever routes the delegate has, now and later.
If that is in the namespace of another team, this team decides where the
requests go. And what the delegate leaves out it inherits: a timeout, retries,
headers or a mirror of the one VirtualService apply to the routes of the other.

The rule warns of a delegate in another namespace, unless that is one of the
platform's, and of a delegate, a VirtualService without hosts, that is exported
to other namespaces than the platform's, so that anyone there can use it as a
part of theirs. Without exportTo that is decided by the mesh's default, which is
to export to all. VirtualServices in the platform's namespaces may delegate to
anyone, as ingress gateways do, and offer delegates to all.

Keep delegates in the namespace, with an exportTo of '.', and the namespace of
the platform that delegates to them if there is one.`,
	Run: analysis.On(checkDelegate),
}

func checkDelegate(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	if pass.Config.IsPlatform(vs.GetNamespace()) {
		return
	}
	for i, r := range vs.Spec.GetHttp() {
		namespace := r.GetDelegate().GetNamespace()
		if namespace == "" || namespace == vs.GetNamespace() || pass.Config.IsPlatform(namespace) {
			continue
		}
		pass.Report(field.Invalid(httpPath.Index(i).Child("delegate", "namespace"), namespace, fmt.Sprintf(
			"must not be another team's, which then decides where the requests go; delegate within '%s'", vs.GetNamespace())))
	}
	if len(vs.Spec.GetHosts()) == 0 {
		checkDelegateExport(pass, specPath.Child("exportTo"), vs)
	}
}

// checkDelegateExport looks at who can make a delegate a part of their routes.
func checkDelegateExport(pass *analysis.Pass, path *field.Path, vs *networkingv1.VirtualService) {
	own := vs.GetNamespace()
	isOther := func(namespace string) bool { return namespace != own && !pass.Config.IsPlatform(namespace) }
	scope := visibility.OfVirtualService(pass.Config, vs)
	if !scope.Public && !slices.ContainsFunc(scope.Namespaces, isOther) {
		return
	}
	exportTo := vs.Spec.GetExportTo()
	if len(exportTo) == 0 {
		pass.Report(field.Required(path,
			"a delegate must not be exported to other teams, who can make it inherit what they like; set '.', and the platform's namespace that delegates to it"))
	}
	for i, e := range exportTo {
		if e != "." && e != "~" && isOther(e) {
			pass.Report(field.Invalid(path.Index(i), e,
				"must not export a delegate to other teams, who can make it inherit what they like; set '.', and the platform's namespace that delegates to it"))
		}
	}
}
