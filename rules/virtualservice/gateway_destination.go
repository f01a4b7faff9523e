// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var gatewayDestination = &analysis.Rule{
	Name:     "virtualservice/gateway-destination",
	Severity: analysis.Error,
	Doc: `egress gateways must forward only to the hosts they are asked for

An egress gateway has rights that its users have not: firewalls let its
addresses through, and services inside the mesh see its identity instead of the
caller's. A route at the gateway decides what these rights are used for. It must
not turn a request for one host into one for another, and never into one for a
service of the mesh.

The rule looks at routes that apply to the Gateway of a configured egress
gateway, or to another Gateway that selects the same pods. Their destinations
must be among the VirtualService's own hosts, or below a wildcard among these,
or be allowed by hosts.allowed of the policy, on that port. Unless hosts.unlisted
of the policy is Deny, a host is as good that a ServiceEntry of the VirtualService's
own namespace declares for the gateway: the namespace could lead it through the
gateway by its own name. A wildcard that is bare, partial or reaches
across a public suffix, such as '*.com', counts for nothing here. A destination
inside the mesh is reported in any case. Routes of delegates are looked at where they are delegated to. VirtualServices in the
platform's namespaces are left alone, and so are destinations without weight
beside others.

Lead requests for a host to that host. Where hosts stand in for each other, have
them allowed.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.VirtualService, analysis.Gateway},
	Run:   analysis.On(checkGatewayDestination),
}

func checkGatewayDestination(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	if len(pass.Config.Mesh.EgressGateways) == 0 || pass.Config.IsPlatform(vs.GetNamespace()) {
		return
	}
	own := ownHosts(&pass.Config.Mesh, vs)
	unknown := false
	for h := range hops(pass, vs, onGateways) {
		internal := host.Internal(h.host, &pass.Config.Mesh, nil)
		if !internal && slices.ContainsFunc(own, func(o string) bool { return o == h.host || host.Approves(o, h.host) }) {
			continue
		}
		if !internal && approval.Allowed(pass.Policy, h.host, approval.Ports(h.Destination, pass.Mesh.ServiceEntry(h.namespace, h.host))) {
			continue
		}
		g, ok := egressGateway(pass, h.Gateways, anyGateway)
		switch {
		case g == nil:
			unknown = unknown || !ok
		case !internal && isDeclaredFor(pass, g, &h):
		case internal:
			pass.Report(field.Invalid(h.at(), h.host, fmt.Sprintf(
				"must not be inside the mesh, whose services the egress gateway '%s' would reach with its own identity; give this route matches with `gateways: [mesh]`", g.Name)))
		default:
			pass.Report(field.Invalid(h.at(), h.host, fmt.Sprintf(
				"must be one of the VirtualService's hosts on the egress gateway '%s', or be added to `hosts.allowed` of the EgressPolicy", g.Name)))
		}
	}
	if unknown {
		pass.NotEvaluated(unknownGateways)
	}
}

// isDeclaredFor reports whether a ServiceEntry of the route's own namespace declares a
// destination for the gateway, under a policy that wants no list.
func isDeclaredFor(pass *analysis.Pass, g *config.EgressGateway, h *hop) bool {
	if pass.Policy.Unlisted == policy.DenyUnlisted {
		return false
	}
	se := pass.Mesh.ServiceEntry(g.Namespace(), h.host)
	return se != nil && se.GetNamespace() == h.namespace
}

// ownHosts returns the hosts that stand for themselves and what is below them.
func ownHosts(mesh *config.Mesh, vs *networkingv1.VirtualService) []string {
	var own []string
	for _, h := range vs.Spec.GetHosts() {
		h = host.Expand(h, vs.GetNamespace(), mesh.ClusterDomain)
		if host.IsPartial(h) || host.PublicSuffix(h) != "" {
			continue
		}
		own = append(own, h)
	}
	return own
}
