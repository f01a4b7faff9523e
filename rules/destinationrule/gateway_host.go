// SPDX-License-Identifier: Apache-2.0

package destinationrule

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var gatewayHost = &analysis.Rule{
	Name:     "destinationrule/gateway-host",
	Severity: analysis.Error,
	Doc: `only the platform says how the egress gateway is reached

Proxies take the DestinationRule of their own namespace before that of the
gateway's (istio.io/istio v1.31, pilot/pkg/model/push_context.go,
destinationRule). One for the Service of the egress gateway therefore takes the
place of the platform's: it can turn mutual TLS off, so that the gateway does not
know who calls, or every request fails; and it can lead the way to the gateway
through a tunnel or a proxy.

The rule looks at the host of DestinationRules outside of the platform namespaces:
it must not be the Service of a configured egress gateway, in any of its forms, nor
a wildcard that it falls under. One that has nothing but names for subsets, as in
Istio's documentation, is reported only where the platform has a DestinationRule
for that Service, which it takes the place of.

Remove the DestinationRule, and the subset where routes name it. For settings of an
external host, name that host.`,
	Reads: []*analysis.Kind{analysis.DestinationRule},
	Run:   analysis.On(checkGatewayHost),
}

func checkGatewayHost(pass *analysis.Pass, dr *networkingv1.DestinationRule) {
	if pass.Config.IsPlatform(dr.GetNamespace()) {
		return
	}
	h := host.Expand(dr.Spec.GetHost(), dr.GetNamespace(), pass.Config.Mesh.ClusterDomain)
	for i := range pass.Config.Mesh.EgressGateways {
		g := &pass.Config.Mesh.EgressGateways[i]
		if h == "" || !host.Covers(h, g.Service) {
			continue
		}
		if !hasSettings(dr) && pass.Mesh.DestinationRule(g.Namespace(), g.Service, g.Namespace()) == nil {
			if !pass.Mesh.Complete(analysis.DestinationRule) {
				pass.NotEvaluated("the DestinationRules of the platform are not known")
			}
			continue
		}
		pass.Report(field.Invalid(field.NewPath("spec", "host"), dr.Spec.GetHost(), fmt.Sprintf(
			"must not be the Service of the egress gateway '%s', for which only the platform has DestinationRules; name the external host instead", g.Name)))
		return
	}
}

// hasSettings reports whether a DestinationRule does more than to name subsets.
func hasSettings(dr *networkingv1.DestinationRule) bool {
	return dr.Spec.GetTrafficPolicy() != nil ||
		slices.ContainsFunc(dr.Spec.GetSubsets(), func(s *networking.Subset) bool { return s.GetTrafficPolicy() != nil })
}
