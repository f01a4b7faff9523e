// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"cmp"
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
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
}

func newPlan(w *World, g *config.EgressGateway, vs *networkingv1.VirtualService) *plan {
	p := &plan{World: w, gateway: g, vs: vs}
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

// findPorts sorts the ports of the hosts by what tells the hosts on them apart. The
// gateway has one port for all of a kind, so that the hosts can only have one too.
func (p *plan) findPorts() string {
	for i, se := range p.entries {
		written := p.draft.Spec.GetHosts()[i]
		if se == nil {
			p.assumePorts(written)
			continue
		}
		for _, sp := range se.Spec.GetPorts() {
			if reason := p.addPort(i, sp); reason != "" {
				return reason
			}
		}
	}
	p.draft.dropIdentities(cmp.Or(p.tls, p.draft.tls))
	return p.checkKinds()
}

func (p *plan) addPort(i int, sp *networking.ServicePort) string {
	h, written, number := p.hosts[i], p.draft.Spec.GetHosts()[i], sp.GetNumber()
	switch proto := port.Parse(sp.GetProtocol()); {
	case proto == port.UDP:
		return ""
	case proto.HTTPLike():
		p.httpHosts = append(p.httpHosts, written)
		return setPort(&p.http, number, "HTTP", h)
	case proto.TLSLike():
		p.tlsHosts = append(p.tlsHosts, written)
		return setPort(&p.tls, number, "TLS", h)
	case proto == port.Sniffed:
		return fmt.Sprintf("port %d of '%s' has no protocol; set `protocol` in its ServiceEntry", number, h)
	default:
		return p.addTCP(h, number)
	}
}

func setPort(field *uint32, number uint32, kind, h string) string {
	if *field != 0 && *field != number {
		return fmt.Sprintf("'%s' makes it two %s ports, %d and %d, and a gateway has only one for both; write a VirtualService, and a ServiceEntry, for each", h, kind, *field, number)
	}
	*field = number
	return ""
}

func (p *plan) addTCP(h string, number uint32) string {
	for _, t := range p.gateway.TCP {
		if t.Host == h && t.Port == number {
			if len(p.hosts) > 1 {
				return fmt.Sprintf("TCP port %d of '%s' names no host; write a VirtualService for this host alone", number, h)
			}
			p.tcp = append(p.tcp, t)
			return ""
		}
	}
	return fmt.Sprintf("the gateway has no port for TCP port %d of '%s'; have it added to `tcp` of the egress gateway in the configuration", number, h)
}

// assumePorts takes the usual ports for a host that nobody has declared yet. Where
// the gateway is required its ServiceEntry is refused before routes lead there.
func (p *plan) assumePorts(written string) {
	p.httpHosts, p.tlsHosts = append(p.httpHosts, written), append(p.tlsHosts, written)
	if p.http == 0 {
		p.http = p.usualHTTP()
	}
	if p.tls == 0 {
		p.tls = p.usualTLS()
	}
	p.assumed = append(p.assumed, p.http, p.tls)
}

func (p *plan) usualHTTP() uint32 {
	return firstPort(p.draft.Spec.GetHttp(), cmp.Or(p.draft.http, 80))
}

func (p *plan) usualTLS() uint32 {
	return firstPort(p.draft.Spec.GetTls(), cmp.Or(p.draft.tls, 443))
}

// firstPort returns the port that a match of the routes names first.
func firstPort[M interface{ GetPort() uint32 }, R interface{ GetMatch() []M }](routes []R, otherwise uint32) uint32 {
	for _, r := range routes {
		for _, m := range r.GetMatch() {
			if m.GetPort() != 0 {
				return m.GetPort()
			}
		}
	}
	return otherwise
}

// checkKinds looks for routes of a kind for which there is no port.
func (p *plan) checkKinds() string {
	for _, kind := range []struct {
		name, protocol string
		routes         int
		port           *uint32
		hosts          *[]string
		usual          uint32
	}{
		{"http", "HTTP", len(p.draft.Spec.GetHttp()), &p.http, &p.httpHosts, p.usualHTTP()},
		{"tls", "TLS", len(p.draft.Spec.GetTls()), &p.tls, &p.tlsHosts, p.usualTLS()},
	} {
		switch {
		case kind.routes == 0 || *kind.port != 0:
		case p.Policy.Gateway.Mode == policy.ModeRequire:
			*kind.port, *kind.hosts = kind.usual, p.draft.Spec.GetHosts()
			p.assumed = append(p.assumed, kind.usual)
		default:
			return fmt.Sprintf("there are %s routes, and '%s' has no port of protocol %s", kind.name, p.hosts[0], kind.protocol)
		}
	}
	if len(p.draft.Spec.GetTcp()) > 0 && len(p.tcp) == 0 {
		return fmt.Sprintf("there are tcp routes, and '%s' has no port of protocol TCP", p.hosts[0])
	}
	return ""
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
