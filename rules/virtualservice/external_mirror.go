// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/namespace"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var externalMirror = &analysis.Rule{
	Name:     "virtualservice/external-mirror",
	Severity: analysis.Error,
	Doc: `requests must not be copied to the outside

A mirror receives a copy of every request, with its Authorization header and its
body, and nobody notices. All requests are copied unless a percentage says
otherwise.

The rule looks at mirror and mirrors of all HTTP routes, also in virtual services
for gateways and in delegates, which may pass the mirror of whoever names them on.
A mirror outside the mesh is denied; one to a Service of another namespace is
warned about, unless it is a platform namespace. A mirror with a percentage of 0 is
off and is left alone.

Remove the mirror, or mirror to a Service of the own namespace.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.Namespace},
	Run:   analysis.On(checkExternalMirror),
}

func checkExternalMirror(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		path := httpPath.Index(i)
		if r.GetMirror() != nil && isMirrored(r) {
			checkMirror(pass, vs, path.Child("mirror"), r.GetMirror())
		}
		for j, m := range r.GetMirrors() {
			if m.GetPercentage() == nil || m.GetPercentage().GetValue() > 0 {
				checkMirror(pass, vs, path.Child("mirrors").Index(j).Child("destination"), m.GetDestination())
			}
		}
	}
}

// isMirrored reports whether any requests are copied (istio.io/istio v1.31,
// pilot/pkg/networking/core/route/route.go, MirrorPercent).
func isMirrored(r *networking.HTTPRoute) bool {
	switch {
	case r.GetMirrorPercentage() != nil:
		return r.GetMirrorPercentage().GetValue() > 0
	case r.GetMirrorPercent() != nil: //nolint:staticcheck // deprecated, but istiod reads it
		return r.GetMirrorPercent().GetValue() > 0 //nolint:staticcheck // as above
	default:
		return true
	}
}

func checkMirror(pass *analysis.Pass, vs *networkingv1.VirtualService, path *field.Path, d *networking.Destination) {
	if _, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), d); external {
		pass.Report(field.Invalid(path.Child("host"), d.GetHost(),
			"must not be outside the mesh: it receives a copy of every request, with its credentials; remove the mirror, or use a Service of this namespace"))
		return
	}
	h := host.Expand(d.GetHost(), vs.GetNamespace(), pass.Config.Mesh.ClusterDomain)
	switch owner := namespace.OwnerOf(pass, h); {
	case owner == "", owner == namespace.Any, owner == vs.GetNamespace(), pass.Config.IsPlatform(owner):
	default:
		pass.ReportAs(analysis.Warning, field.Invalid(path.Child("host"), d.GetHost(), fmt.Sprintf(
			"should not be in namespace '%s': it receives a copy of every request, with its credentials; use a Service of this namespace", owner)))
	}
}
