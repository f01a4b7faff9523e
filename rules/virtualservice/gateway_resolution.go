// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var gatewayResolution = &analysis.Rule{
	Name:     "virtualservice/gateway-resolution",
	Severity: analysis.Error,
	Doc: `hosts behind an egress gateway must have addresses of their own

With resolution NONE, the default, a proxy connects to the address that the
client asked for. At an egress gateway that is the gateway's own, so that the
request would come back to it; istiod since replaces the resolution by one
without endpoints, and every request ends with status 503. DYNAMIC_DNS asks the
name server about the host of each request, and istiod installs what does that
in sidecars and waypoints only: at a gateway such requests fail too.

The rule looks at routes that apply to the Gateway of a configured egress
gateway, or to another Gateway that selects the same pods, also by delegates,
and at the ServiceEntries of their external destinations: those that the
gateway's namespace sees, or the VirtualService's if that sees none. Where there
is none yet nothing is reported, nor is what has no weight beside others, nor
routes of sidecars and ingress gateways.

Use resolution DNS. To lead a wildcard through a gateway, add a ServiceEntry for
one exact host, with resolution DNS, as the destination.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.VirtualService, analysis.Gateway},
	Run:   analysis.On(checkGatewayResolution),
}

func checkGatewayResolution(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	if len(pass.Config.Mesh.EgressGateways) == 0 {
		return
	}
	var unknownGateway, unknownHost bool
	for h := range hops(pass, vs, onGateways) {
		if host.Internal(h.host, &pass.Config.Mesh, nil) {
			continue
		}
		g, ok := egressGateway(pass, h.Gateways, anyGateway)
		if g == nil {
			unknownGateway = unknownGateway || !ok
			continue
		}
		se := pass.Mesh.ServiceEntry(g.Namespace(), h.host)
		if se == nil {
			se = pass.Mesh.ServiceEntry(h.namespace, h.host)
		}
		switch {
		case se == nil:
			unknownHost = unknownHost || !pass.Mesh.Complete(analysis.ServiceEntry)
		case se.Spec.GetResolution() == networking.ServiceEntry_NONE, se.Spec.GetResolution() == networking.ServiceEntry_DYNAMIC_DNS:
			pass.Report(field.Invalid(h.at(), h.host, fmt.Sprintf(
				"must not have the resolution %s, which does not work on the egress gateway '%s'; set `resolution: DNS` in the ServiceEntry", se.Spec.GetResolution(), g.Name)))
		}
	}
	if unknownGateway {
		pass.NotEvaluated(unknownGateways)
	}
	if unknownHost {
		pass.NotEvaluated("the ServiceEntries of the mesh are not known to tell how the hosts are resolved")
	}
}
