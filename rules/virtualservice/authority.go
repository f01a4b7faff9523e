// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var authority = &analysis.Rule{
	Name:     "virtualservice/authority",
	Severity: analysis.Warning,
	Doc: `the Host header must fit the host that it goes to

A route can rewrite the Host header. If it names another host than the destination,
policies, logs and the firewall see one host and the server another: domain
fronting, as it is used to hide where data goes.

The rule looks at HTTP routes to external hosts and to egress gateways: rewrite's
authority and the header 'host' or ':authority' that a route or destination sets or
adds. It must be
a host of the virtual service, of the destination, or of its service entry; a port
is ignored. Another one is warned about and, where the policy denies unlisted hosts
and does not approve it, denied. The rule also warns of a redirect to an external
host with scheme 'http', which takes the client's next request into the clear.

Remove the rewrite, or use the destination's own host.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkAuthority),
}

func checkAuthority(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		path := httpPath.Index(i)
		checkRedirect(pass, path.Child("redirect"), r.GetRedirect())
		named := authorities(path, r)
		if len(named) == 0 || !leadsOut(pass, vs, r) && !leadsToGateway(pass, vs, r) {
			continue
		}
		known := hostsOf(pass, vs)
		for _, d := range r.GetRoute() {
			known = append(known, hostsBehind(pass, vs, d.GetDestination())...)
		}
		for _, a := range named {
			checkName(pass, known, a)
		}
	}
}

// authorities returns what a route makes of the Host header.
func authorities(path *field.Path, r *networking.HTTPRoute) []requestHeader {
	var named []requestHeader
	if a := r.GetRewrite().GetAuthority(); a != "" {
		named = append(named, requestHeader{path: path.Child("rewrite", "authority"), value: a})
	}
	add := func(path *field.Path, headers *networking.Headers) {
		for h := range requestHeaders(path, headers) {
			if strings.EqualFold(h.name, "host") || strings.EqualFold(h.name, ":authority") {
				named = append(named, h)
			}
		}
	}
	add(path.Child("headers"), r.GetHeaders())
	for i, d := range r.GetRoute() {
		add(path.Child("route").Index(i).Child("headers"), d.GetHeaders())
	}
	return named
}

// hostsBehind returns the hosts of which requests to a destination may be.
func hostsBehind(pass *analysis.Pass, vs *networkingv1.VirtualService, d *networking.Destination) []string {
	hosts := []string{host.Expand(d.GetHost(), vs.GetNamespace(), pass.Config.Mesh.ClusterDomain)}
	if se, _ := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), d); se != nil {
		for _, h := range se.Spec.GetHosts() {
			hosts = append(hosts, host.Normal(h))
		}
	}
	return hosts
}

func checkName(pass *analysis.Pass, known []string, a requestHeader) {
	name := host.Normal(host.TrimPort(a.value))
	if name == "" || slices.ContainsFunc(known, func(h string) bool { return host.PublicSuffix(h) == "" && host.Covers(h, name) }) {
		return
	}
	severity := analysis.Warning
	if pass.Policy.Unlisted == policy.DenyUnlisted && !approval.Allowed(pass.Policy, name, nil) {
		severity = analysis.Error
	}
	pass.ReportAs(severity, field.Invalid(a.path, a.value,
		"must be a host of the VirtualService or of the destination, else policies see one host and the server another; remove it, or use the destination's host"))
}

func checkRedirect(pass *analysis.Pass, path *field.Path, r *networking.HTTPRedirect) {
	name := host.Normal(host.TrimPort(r.GetAuthority()))
	if name == "" || !strings.EqualFold(r.GetScheme(), "http") || host.Internal(name, &pass.Config.Mesh, nil) {
		return
	}
	pass.Report(field.Invalid(path.Child("scheme"), r.GetScheme(),
		"should be 'https' towards an external host, else the client's next request leaves in the clear"))
}
