// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/lift"
	"github.com/sallyport-dev/sallyport/rules/internal/namespace"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var hostOwner = &analysis.Rule{
	Name:     "virtualservice/host-owner",
	Severity: analysis.Error,
	Doc: `routes for others are for the owner of the host

A virtual service that other namespaces see says where their requests for its
hosts go. Whoever writes one for another team's Service, or for an external host
that others use, takes over their traffic: ISTIO-SECURITY-2026-002. Istio means it
to be so, and leaves it to admission to say who may.

The rule looks at virtual services that sidecars use and that are exported beyond
their namespace, as they are unless exportTo says otherwise. Denied are the names
of Services of other namespaces, in each of their forms ('ledger.payments',
'ledger.payments.svc' and so on; of a name of two labels, if there is such a
namespace); hosts of which another namespace has the oldest service entry that
somebody sees together with the virtual service; and external hosts that nobody
has declared, unless only platform namespaces see it. Where none but egress
gateways' namespaces see it besides its own, hosts that the platform has declared
are free too: the way through the gateway is everybody's.

An egress gateway joins the routes that all namespaces bind to it for a host, so that
each of them would get the requests of the others. Denied is therefore also a host
for which a virtual service of another namespace is bound to the same gateway
already, whatever sidecars do; and a server name of a tls route there that is not
among the hosts as it is: below a wildcard it would take the connections to a host
that another namespace leads there, now or later.

Delegates have no hosts, and platform namespaces are exempt.

Set exportTo: ['.'], or have the host's owner write the virtual service.`,
	Reads: []*analysis.Kind{analysis.Namespace, analysis.ServiceEntry, analysis.VirtualService},
	Run:   analysis.On(checkHostOwner),
}

func checkHostOwner(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	own := vs.GetNamespace()
	seen := visibility.OfVirtualService(pass.Config, vs)
	if !seen.Crosses(own) || pass.Config.IsPlatform(own) {
		return
	}
	o := &ownership{pass: pass, vs: vs}
	o.platformOnly = o.onlyOthers(seen, pass.Config.IsPlatform)
	o.gatewaysOnly = o.onlyOthers(seen, o.isGatewayNamespace)
	for i, written := range vs.Spec.GetHosts() {
		if !o.checkGateways(hostsPath.Index(i), written, seen) && route.AppliesToMesh(vs) {
			o.check(hostsPath.Index(i), written)
		}
	}
	o.checkServerNames(seen)
	if o.unknown {
		pass.NotEvaluated("not all ServiceEntries and namespaces are known that say whose these hosts are")
	}
}

type ownership struct {
	pass *analysis.Pass
	vs   *networkingv1.VirtualService
	// platformOnly is set if besides the own namespace only those of the
	// platform see the VirtualService, gatewaysOnly if only those of egress
	// gateways do.
	platformOnly, gatewaysOnly bool
	// unknown is set if something could not be told.
	unknown bool
}

// onlyOthers reports whether all who see the VirtualService, besides its own
// namespace, are of one sort.
func (o *ownership) onlyOthers(seen visibility.Scope, sort func(namespace string) bool) bool {
	return !seen.Public && !slices.ContainsFunc(seen.Namespaces, func(n string) bool { return n != o.vs.GetNamespace() && !sort(n) })
}

func (o *ownership) isGatewayNamespace(namespace string) bool {
	return slices.ContainsFunc(o.pass.Config.Mesh.EgressGateways, func(g config.EgressGateway) bool { return g.Namespace() == namespace })
}

// checkGateways looks for others who have bound the host to the same egress gateway,
// and reports whether there are any.
func (o *ownership) checkGateways(path *field.Path, written string, seen visibility.Scope) bool {
	h := host.Expand(written, o.vs.GetNamespace(), o.pass.Config.Mesh.ClusterDomain)
	for i := range o.pass.Config.Mesh.EgressGateways {
		g := &o.pass.Config.Mesh.EgressGateways[i]
		if !lift.IsBoundTo(g, o.vs) || !seen.Public && !slices.Contains(seen.Namespaces, g.Namespace()) {
			continue
		}
		claims, complete := o.pass.Mesh.HostClaims(analysis.VirtualService, o.vs, h)
		if other := lift.SharedGateway(o.pass.Config, g, o.vs.GetNamespace(), claims); other != nil {
			o.pass.Report(field.Invalid(path, written, fmt.Sprintf(
				"must not be led through the egress gateway '%s' by two namespaces, whose routes the gateway would join: VirtualService '%s/%s' does already; have one written for both",
				g.Name, other.GetNamespace(), other.GetName())))
			return true
		}
		o.unknown = o.unknown || !complete || !o.pass.Mesh.Complete(analysis.VirtualService)
	}
	return false
}

// checkServerNames looks at the server names that TLS routes take at egress gateways:
// the gateway takes the most specific one, and of equal ones the oldest, so that whose
// they are must be as plain as with hosts.
func (o *ownership) checkServerNames(seen visibility.Scope) {
	hosts := map[string]bool{}
	for _, h := range o.vs.Spec.GetHosts() {
		hosts[host.Normal(h)] = true
	}
	for i, r := range o.vs.Spec.GetTls() {
		for j, m := range r.GetMatch() {
			if !o.isAtGateway(route.Gateways(o.vs, [][]string{m.GetGateways()}), seen) {
				continue
			}
			for k, sni := range m.GetSniHosts() {
				if !hosts[host.Normal(sni)] {
					o.pass.Report(field.Invalid(tlsPath.Index(i).Child("match").Index(j).Child("sniHosts").Index(k), sni,
						"must be one of `hosts` at an egress gateway, where it would take the connections of others; add it there"))
				}
			}
		}
	}
}

func (o *ownership) isAtGateway(gateways []string, seen visibility.Scope) bool {
	at := &networkingv1.VirtualService{ObjectMeta: o.vs.ObjectMeta, Spec: networking.VirtualService{Gateways: gateways}}
	return slices.ContainsFunc(o.pass.Config.Mesh.EgressGateways, func(g config.EgressGateway) bool {
		return lift.IsBoundTo(&g, at) && (seen.Public || slices.Contains(seen.Namespaces, g.Namespace()))
	})
}

func (o *ownership) check(path *field.Path, written string) {
	own := o.vs.GetNamespace()
	h := host.Expand(written, own, o.pass.Config.Mesh.ClusterDomain)
	switch owner := namespace.OwnerOf(o.pass, h); owner {
	case own:
	case "":
		o.checkDeclared(path, written, h)
	case namespace.Any:
		o.pass.Report(field.Invalid(path, written,
			"must not be a name for Services of all namespaces; list the own Services, or set `exportTo: ['.']`"))
	default:
		o.pass.Report(field.Invalid(path, written, fmt.Sprintf(
			"must not be a Service of namespace '%s' in a VirtualService that others see; set `exportTo: ['.']`, or have it written in that namespace", owner)))
	}
}

// checkDeclared looks for the owner of a host that is no Service's.
func (o *ownership) checkDeclared(path *field.Path, written, h string) {
	own := o.vs.GetNamespace()
	claims, complete := o.pass.Mesh.HostClaims(analysis.ServiceEntry, o.vs, h)
	owner := firstOwner(claims, own, host.IsWildcard(h))
	if owner == nil && len(claims) == 0 {
		if se := o.pass.Mesh.ServiceEntry(own, h); se != nil {
			owner = se
		}
	}
	switch {
	case owner != nil && o.gatewaysOnly && o.pass.Config.IsPlatform(owner.GetNamespace()):
	case owner != nil && owner.GetNamespace() != own:
		o.pass.Report(field.Invalid(path, written, fmt.Sprintf(
			"must not be a host of ServiceEntry '%s/%s' in a VirtualService that others see; set `exportTo: ['.']`, or have it written in that namespace",
			owner.GetNamespace(), owner.GetName())))
	case owner == nil && !complete:
		o.pass.Report(field.Invalid(path, written, "must not cover more hosts than can be looked at for their owners; list the hosts one by one, or set `exportTo: ['.']`"))
	case owner != nil, len(claims) > 0, o.platformOnly:
	case !o.pass.Mesh.Complete(analysis.ServiceEntry), !o.pass.Mesh.Complete(analysis.Namespace):
		o.unknown = true
	default:
		o.pass.Await()
		o.pass.Report(field.Invalid(path, written,
			"must not be a host that nobody has declared, in a VirtualService that others see; set `exportTo: ['.']`, or declare it in a ServiceEntry"))
	}
}

// firstOwner returns the oldest of the claims, which are in the order of age. For
// a wildcard, below which there are several hosts, it is one of another namespace.
func firstOwner(claims []analysis.Object, own string, wildcard bool) analysis.Object {
	if wildcard {
		i := slices.IndexFunc(claims, func(c analysis.Object) bool { return c.GetNamespace() != own })
		if i < 0 {
			return nil
		}
		return claims[i]
	}
	if len(claims) == 0 {
		return nil
	}
	return claims[0]
}
