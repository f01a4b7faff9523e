// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

var unresolvedHost = &analysis.Rule{
	Name:     "serviceentry/unresolved-host",
	Severity: analysis.Warning,
	Doc: `exact hosts should be resolved by the proxy

With resolution NONE, which is what Istio takes if the field is left out, the
proxy believes the Host header or the server name of a request, and connects to
whatever address the client has chosen. A workload that says 'api.example.com' and
connects to another machine is let out. With resolution DNS the proxy looks the
host up itself, and the request goes there or nowhere.

The rule looks at service entries that lead out of the mesh, whose hosts are all
exact and of which a port is routed by host (HTTP or TLS). It says nothing where
these ports are all TLS and addresses are single addresses: then the addresses
bound where connections go.

Set resolution: DNS.`,
	Run: analysis.On(checkUnresolvedHost),
}

func checkUnresolvedHost(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if se.Spec.GetResolution() != networking.ServiceEntry_NONE || slices.ContainsFunc(se.Spec.GetHosts(), isWildcard) {
		return
	}
	http, tls := routedPorts(se)
	if !http && (!tls || areSingle(se.Spec.GetAddresses())) {
		return
	}
	switch egress(pass.Config, se) {
	case inside:
	case unclear:
		pass.NotEvaluated(unclearReason)
	case outside:
		pass.Report(field.Invalid(field.NewPath("spec", "resolution"), se.Spec.GetResolution().String(),
			"should be 'DNS' ('NONE' is the default): else the proxy connects to whatever address the client has chosen, whatever the host"))
	}
}

// routedPorts reports whether proxies route a port by Host header or by server
// name.
func routedPorts(se *networkingv1.ServiceEntry) (http, tls bool) {
	for _, p := range se.Spec.GetPorts() {
		protocol := port.Parse(p.GetProtocol())
		http = http || protocol.HTTPLike()
		tls = tls || protocol.TLSLike()
	}
	return http, tls
}

// areSingle reports whether there are addresses, and no ranges among them.
func areSingle(addresses []string) bool {
	return len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool {
		p, ok := cidr.Parse(a)
		return !ok || !p.IsSingleIP()
	})
}
