// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// SharedGateway returns the first of the VirtualServices of namespaces other than
// own that is bound to the gateway, or nil. A gateway joins the routes of all who
// bind a host to it, whatever their namespaces (istio.io/istio v1.31,
// pilot/pkg/networking/core/gateway.go, buildGatewayHTTPRouteConfig).
func SharedGateway(c *config.Configuration, g *config.EgressGateway, own string, claims []analysis.Object) *networkingv1.VirtualService {
	for _, claim := range claims {
		vs, ok := claim.(*networkingv1.VirtualService)
		if !ok || vs.GetNamespace() == own {
			continue
		}
		scope := visibility.OfVirtualService(c, vs)
		if !scope.Public && !slices.Contains(scope.Namespaces, g.Namespace()) {
			continue
		}
		if IsBoundTo(g, vs) {
			return vs
		}
	}
	return nil
}

// IsBoundTo reports whether a VirtualService names a Gateway of an egress gateway.
func IsBoundTo(g *config.EgressGateway, vs *networkingv1.VirtualService) bool {
	return slices.ContainsFunc(vs.Spec.GetGateways(), func(name string) bool {
		return name != route.Mesh && serves(g, route.GatewayName(name, vs.GetNamespace()))
	})
}

// serves reports whether a Gateway is one that the configuration names for the
// egress gateway.
func serves(g *config.EgressGateway, gateway string) bool {
	return g.Gateway == gateway || slices.ContainsFunc(g.TCP, func(t config.TCPPort) bool { return t.Gateway == gateway })
}

// exports returns who shall see the VirtualService: the gateway's namespace as well.
// It is nil if nobody sees it.
func (p *plan) exports() []string {
	to := slices.Clone(p.vs.Spec.GetExportTo())
	if len(to) == 0 {
		// A tenant's routes are its own: they come before older ones that others
		// have for all. The platform's are for those who saw them before.
		to = []string{"."}
		if p.Config.IsPlatform(p.vs.GetNamespace()) {
			to = slices.Clone(p.Config.Mesh.DefaultExportTo.VirtualService)
		}
	}
	return withNamespace(to, p.vs.GetNamespace(), p.gateway.Namespace())
}

// withNamespace adds a namespace to an exportTo, unless it is in it. It returns nil
// if nobody sees the object.
func withNamespace(exportTo []string, own, namespace string) []string {
	if slices.Contains(exportTo, "~") {
		return nil
	}
	if slices.Contains(exportTo, "*") || slices.Contains(exportTo, namespace) || own == namespace && slices.Contains(exportTo, ".") {
		return exportTo
	}
	return append(exportTo, namespace)
}

// checkOwners looks for others who have the hosts: sidecars and gateways make one of
// all routes for a host, in their own ways.
func (p *plan) checkOwners() string {
	own := p.vs.GetNamespace()
	after := &networkingv1.VirtualService{ObjectMeta: p.vs.ObjectMeta, Spec: networking.VirtualService{Hosts: p.vs.Spec.GetHosts(), ExportTo: p.exportTo}}
	for _, h := range p.hosts {
		if first := p.Mesh.VirtualService(own, h); first != nil && first.GetNamespace() == own && first.GetName() != p.vs.GetName() {
			return fmt.Sprintf("VirtualService '%s', which is older, has '%s' too, and sidecars use that; write the routes there", first.GetName(), h)
		}
		claims, complete := p.Mesh.HostClaims(analysis.VirtualService, after, h)
		if other := SharedGateway(p.Config, p.gateway, own, claims); other != nil {
			return fmt.Sprintf("VirtualService '%s/%s' leads '%s' through this gateway already, which would join the routes of both", other.GetNamespace(), other.GetName(), h)
		}
		if !complete {
			return fmt.Sprintf("too many VirtualServices have '%s'", h)
		}
	}
	return ""
}
