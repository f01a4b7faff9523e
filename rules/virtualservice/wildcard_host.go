// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var wildcardHost = &analysis.Rule{
	Name:     "virtualservice/wildcard-host",
	Severity: analysis.Error,
	Doc: `routes of sidecars must name their hosts

A virtual service for '*.svc.cluster.local' or '*.com' that sidecars use captures
requests for many hosts, also for those that do not exist yet. If other namespaces
see it, it captures theirs.

Denied are wildcards in virtual services that sidecars use and that are exported
beyond their namespace. In a virtual service for the own namespace alone those for
Services are warned about. A wildcard that the own namespace has declared in a service entry,
or that lies below one, is fine; that entry has been judged itself. Virtual
services for gateways alone often have wildcards, and are left alone, as are
platform namespaces.

List the hosts one by one.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkWildcardHost),
}

func checkWildcardHost(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	own := vs.GetNamespace()
	if !route.AppliesToMesh(vs) || pass.Config.IsPlatform(own) {
		return
	}
	for i, written := range vs.Spec.GetHosts() {
		h := host.Normal(written)
		if !host.IsWildcard(h) {
			continue
		}
		if se := pass.Mesh.ServiceEntry(own, h); se != nil && se.GetNamespace() == own {
			continue
		}
		path := hostsPath.Index(i)
		if visibility.OfVirtualService(pass.Config, vs).Crosses(own) {
			pass.Report(field.Invalid(path, written,
				"must not be a wildcard in a VirtualService that others see, whose requests it captures; list the hosts one by one, or set `exportTo: ['.']`"))
			continue
		}
		if host.Internal(h, &pass.Config.Mesh, nil) {
			pass.ReportAs(analysis.Warning, field.Invalid(path, written,
				"should not be a wildcard, which captures requests for Services nobody has thought of; list the Services one by one"))
		}
	}
}
