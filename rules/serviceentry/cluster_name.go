// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/namespace"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var clusterName = &analysis.Rule{
	Name:     "serviceentry/cluster-name",
	Severity: analysis.Error,
	Doc: `hosts must not be the names of other namespaces' Services

istiod prefers a Service to a service entry of the same host, but only while the
Service exists, under its full name, and where it is visible. A service entry for
'reviews.prod', for a Service that is being replaced, or for '*.svc.cluster.local'
receives requests that were meant for somebody else.

Denied are hosts below the cluster domain or 'svc' that belong to another
namespace or to all of them, '<service>.<namespace>' where there is such a
namespace, and a name without any dot if the service entry is exported to other
namespaces, each of which may have a Service of that name. Names in the service
entry's own namespace are warned about: they may shadow a Service there.

Use a Service in the namespace that owns the name. Hosts that a policy allows and
service entries in platform namespaces are left alone.`,
	Reads: []*analysis.Kind{analysis.Namespace},
	Run:   analysis.On(checkClusterName),
}

func checkClusterName(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if pass.Config.IsPlatform(se.GetNamespace()) {
		return
	}
	unknown := false
	for i, written := range se.Spec.GetHosts() {
		h := host.Normal(written)
		if isApprovedHost(pass.Policy, h) {
			continue
		}
		path := hostsPath.Index(i)
		switch owner := namespace.OwnerOf(pass, h); {
		case owner == "":
			unknown = unknown || host.Labels(h) == 2 && !host.IsWildcard(h)
		case owner == namespace.Any:
			if host.Labels(h) == 1 && !host.IsWildcard(h) && !visibility.OfServiceEntry(pass.Config, se).Crosses(se.GetNamespace()) {
				pass.ReportAs(analysis.Warning, field.Invalid(path, written, "should not be a name without a dot, which shadows a Service of that name; use the destination's full host name"))
				continue
			}
			pass.Report(field.Invalid(path, written, "must not be a name for Services of any namespace; use a Service, or the destination's full host name"))
		case owner == se.GetNamespace():
			pass.ReportAs(analysis.Warning, field.Invalid(path, written, "should not be a name for Services of this namespace, which it may shadow; use a Service, or a host name outside the cluster domain"))
		default:
			pass.Report(field.Invalid(path, written, fmt.Sprintf("must not be a name for Services of namespace '%s'; use a Service there, or the destination's own host name", owner)))
		}
	}
	if unknown && !pass.Mesh.Complete(analysis.Namespace) {
		pass.NotEvaluated("not all namespaces are known to tell whether a host of two labels is a Service's")
	}
}
