// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var dynamicDNS = &analysis.Rule{
	Name:     "serviceentry/dynamic-dns",
	Severity: analysis.Warning,
	Doc: `resolution DYNAMIC_DNS lets clients choose the destination

With resolution DYNAMIC_DNS the proxy looks up whatever name below the wildcard
the client has written into the Host header or the server name of its handshake.

For names inside the mesh that is denied, except in platform namespaces: such a
wildcard reaches the Services of namespaces that a Sidecar hides. Outside, the
rule warns about ports with TLS or HTTPS, where the server name can be forged and
is not compared with the certificate, and about a namespace that policy leads
through an egress gateway, where istiod does not implement DYNAMIC_DNS. The
wildcard itself is judged by serviceentry/wildcard-host.

List exact hosts with resolution DNS.`,
	Run: analysis.On(checkDynamicDNS),
}

func checkDynamicDNS(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if se.Spec.GetResolution() != networking.ServiceEntry_DYNAMIC_DNS {
		return
	}
	path := field.NewPath("spec", "resolution")
	value := se.Spec.GetResolution().String()
	internal := func(written string) bool {
		h := host.Normal(written)
		return host.Internal(h, &pass.Config.Mesh, nil) || host.Covers(h, "*.svc."+pass.Config.Mesh.ClusterDomain)
	}
	if se.Spec.GetLocation() == networking.ServiceEntry_MESH_INTERNAL || slices.ContainsFunc(se.Spec.GetHosts(), internal) {
		if !pass.Config.IsPlatform(se.GetNamespace()) {
			pass.ReportAs(analysis.Error, field.Invalid(path, value,
				"must not be used for hosts inside the mesh, since clients then reach Services that are hidden from them; list exact hosts with 'STATIC' or 'DNS'"))
		}
		return
	}
	if slices.ContainsFunc(se.Spec.GetPorts(), func(p *networking.ServicePort) bool { return port.Parse(p.GetProtocol()).TLSLike() }) {
		pass.Report(field.Invalid(path, value,
			"should not be used with TLS, whose server name a client can forge; list exact hosts with 'DNS'"))
	}
	if pass.Policy.Gateway.Mode != policy.ModeOff {
		pass.Report(field.Invalid(path, value,
			"should not be used where traffic is led through an egress gateway, which does not support it; list exact hosts with 'DNS'"))
	}
}
