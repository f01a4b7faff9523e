// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
)

var gatewayLoop = &analysis.Rule{
	Name:     "virtualservice/gateway-loop",
	Severity: analysis.Error,
	Doc: `routes must not lead an egress gateway to itself

A VirtualService that leads a host through an egress gateway has two hops: from
the sidecars to the gateway's Service, and from the gateway to the host. Both
apply everywhere unless a match says where. A route to the gateway's Service
that applies at the gateway too makes it send each request to itself, until all
its connections are used up, for all who use that gateway.

The rule looks at destinations that are the Service of a configured egress
gateway, on routes that apply to its Gateway, or to another Gateway that selects
the same pods: since they have no match, since one of their matches has no
gateways, or since it names that Gateway. That the sidecars use the route too
does not matter. Routes of delegates are looked at where they are delegated to.
A route from another gateway, such as an ingress gateway, is left alone, and so
are destinations without weight beside others.

Give each match of the route to the Service 'gateways: [mesh]', and the gateway
a route of its own to the host.`,
	Reads: []*analysis.Kind{analysis.VirtualService, analysis.Gateway},
	Run:   analysis.On(checkGatewayLoop),
}

func checkGatewayLoop(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	if len(pass.Config.Mesh.EgressGateways) == 0 {
		return
	}
	unknown := false
	for h := range hops(pass, vs, onGateways) {
		if gatewayByService(pass.Config, h.namespace, h.Destination) == nil {
			continue
		}
		g, ok := egressGateway(pass, h.Gateways, func(g *config.EgressGateway) bool { return g.Service == h.host })
		unknown = unknown || !ok
		if g != nil {
			pass.Report(field.Invalid(h.at(), h.host, fmt.Sprintf(
				"must not lead the egress gateway '%s' to itself; add `gateways: [mesh]` to each match of this route, and a route to the host that matches the gateway", g.Name)))
		}
	}
	if unknown {
		pass.NotEvaluated(unknownGateways)
	}
}
