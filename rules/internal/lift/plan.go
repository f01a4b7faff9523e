// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A plan says how a VirtualService is led through a gateway, or why it is not.
type plan struct {
	*World
	gateway *config.EgressGateway
	vs      *networkingv1.VirtualService
	draft   *Draft
	origin  origin
	// concerned is set if the VirtualService leads out of the mesh.
	concerned bool
	// reason says why it cannot be led through the gateway; empty if it can be.
	reason string

	// hosts are those of the VirtualService in normal form, entries their
	// ServiceEntries, nil for a host that has none yet.
	hosts   []string
	entries []*networkingv1.ServiceEntry
	// http and tls are the ports that clients in the mesh use; 0 if there is none.
	http, tls uint32
	// assumed are ports that no ServiceEntry declares yet.
	assumed []uint32
	// httpHosts and tlsHosts are those that have such a port, as they are written.
	httpHosts, tlsHosts []string
	tcp                 []config.TCPPort
	exportTo            []string
	// delegates are those that were looked at.
	delegates map[string]bool
}

func newPlan(w *World, g *config.EgressGateway, vs *networkingv1.VirtualService) *plan {
	p := &plan{World: w, gateway: g, vs: vs, delegates: map[string]bool{}}
	if !route.AppliesToMesh(vs) || w.isAmbient(vs.GetNamespace()) {
		return p
	}
	if p.origin = originOf(w.Config, vs); p.origin == unbound {
		p.draft = unmarked(vs)
	} else {
		p.draft = strip(w.Config, vs)
	}
	p.exportTo = p.exports()
	if p.exportTo == nil || !p.leadsOut() {
		return p
	}
	for _, step := range []func() string{p.checkGateways, p.findEntries, p.findPorts, p.checkRoutes, p.checkServers, p.checkOwners} {
		if p.reason = step(); p.reason != "" {
			break
		}
	}
	return p
}

// unmarked returns the draft of a VirtualService that was never lifted.
func unmarked(vs *networkingv1.VirtualService) *Draft {
	d := &Draft{Spec: vs.Spec.DeepCopy()}
	d.HTTP, d.TLS, d.TCP = indices(len(d.Spec.GetHttp())), indices(len(d.Spec.GetTls())), indices(len(d.Spec.GetTcp()))
	for _, r := range d.Spec.GetHttp() {
		for _, m := range r.GetMatch() {
			if isMesh(m.GetGateways()) {
				m.Gateways = nil // as it is without, since the VirtualService is for the mesh
			}
		}
	}
	return d
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// leadsOut reports whether some host or destination is outside the mesh and must
// not be reached directly.
func (p *plan) leadsOut() bool {
	for _, h := range p.draft.Spec.GetHosts() {
		h = host.Expand(h, p.vs.GetNamespace(), p.Config.Mesh.ClusterDomain)
		p.hosts = append(p.hosts, h)
		if p.isOutside(&networking.Destination{Host: h}) {
			p.concerned = true
		}
	}
	for to := range destinationsOf(p.draft.Spec) {
		p.concerned = p.concerned || p.isOutside(to)
	}
	return p.concerned
}

func (p *plan) isOutside(d *networking.Destination) bool {
	se, external := route.External(p.Config, p.Mesh, p.vs.GetNamespace(), d)
	h := host.Expand(d.GetHost(), p.vs.GetNamespace(), p.Config.Mesh.ClusterDomain)
	return (external || p.isDomain(h)) && !approval.Direct(p.Policy, h, approval.Ports(d, se))
}

// isDomain reports whether a name of two labels, such as "example.com", is none of a
// Service and its namespace. Only where the gateway is required does it matter before
// there is a ServiceEntry, which is refused until the routes are led.
func (p *plan) isDomain(h string) bool {
	service, namespace, ok := strings.Cut(h, ".")
	return p.Policy.Gateway.Mode == policy.ModeRequire && ok && service != "" && !strings.Contains(namespace, ".") && !host.IsWildcard(h) &&
		!host.Internal(h, &p.Config.Mesh, func(string) bool { return p.mayExist(namespace) })
}

func (w *World) mayExist(namespace string) bool {
	return namespace == "default" || namespace == w.Config.Mesh.RootNamespace ||
		!w.Mesh.Complete(analysis.Namespace) || w.Mesh.Object(analysis.Namespace, "", namespace) != nil
}

// partly is why nothing is led where somebody has begun to.
const partly = "some matches have `gateways`, so that the routes are bound by hand in part; bind all of them, or remove `gateways` everywhere"

func (p *plan) checkGateways() string {
	for _, g := range p.draft.Spec.GetGateways() {
		switch {
		case g == route.Mesh:
		case isBound(p.Config, p.vs, []string{g}):
			return partly
		default:
			return fmt.Sprintf("`gateways` has '%s' besides 'mesh'; write a VirtualService for each", g)
		}
	}
	return ""
}

// findEntries looks up what declares the hosts.
func (p *plan) findEntries() string {
	for _, h := range p.hosts {
		switch {
		case host.IsWildcard(h):
			return fmt.Sprintf("'%s' is a wildcard, which a gateway cannot resolve; list the exact hosts", h)
		case host.Internal(h, &p.Config.Mesh, nil):
			return fmt.Sprintf("'%s' is inside the mesh; write a VirtualService of its own for what leads out", h)
		}
		se, reason := p.entry(h)
		if reason != "" {
			return reason
		}
		if se == nil && p.Policy.Gateway.Mode != policy.ModeRequire {
			p.await()
			return fmt.Sprintf("no ServiceEntry declares '%s'; apply this again when there is one", h)
		}
		p.entries = append(p.entries, se)
	}
	return ""
}

// entry returns the ServiceEntry of a host, nil if there is none, or why the gateway
// cannot use it.
func (p *plan) entry(h string) (se *networkingv1.ServiceEntry, reason string) {
	se = p.Mesh.ServiceEntry(p.vs.GetNamespace(), h)
	if se == nil {
		return nil, ""
	}
	name := se.GetNamespace() + "/" + se.GetName()
	switch se.Spec.GetResolution() {
	case networking.ServiceEntry_DNS, networking.ServiceEntry_DNS_ROUND_ROBIN, networking.ServiceEntry_STATIC:
	default:
		return nil, fmt.Sprintf("ServiceEntry '%s' has the resolution %s, with which a gateway cannot reach '%s'; set `resolution: DNS`", name, se.Spec.GetResolution(), h)
	}
	if se.Spec.GetLocation() == networking.ServiceEntry_MESH_INTERNAL {
		return nil, fmt.Sprintf("ServiceEntry '%s' says that '%s' is inside the mesh; set `location: MESH_EXTERNAL`", name, h)
	}
	switch at := p.Mesh.ServiceEntry(p.gateway.Namespace(), h); {
	case at == nil:
		return nil, fmt.Sprintf("the gateway does not see ServiceEntry '%s'; add '%s' to its `exportTo`", name, p.gateway.Namespace())
	case at.GetNamespace() != se.GetNamespace() || at.GetName() != se.GetName():
		return nil, fmt.Sprintf("for the gateway '%s' is that of ServiceEntry '%s/%s', not of '%s'; have one namespace declare it for all", h, at.GetNamespace(), at.GetName(), name)
	}
	return se, ""
}
