// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A generator makes what teams may write: valid, but not always wise.
type generator struct {
	*rand.Rand
	entries []*networkingv1.ServiceEntry
	// layout is that of most hosts.
	layout []int
}

func newGenerator(seed uint64) *generator { return &generator{Rand: rand.New(rand.NewPCG(seed, 1))} }

// oneIn reports true once in n times.
func (g *generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

// objects returns ServiceEntries, and VirtualServices for some of their hosts.
func (g *generator) objects() []analysis.Object {
	var objects []analysis.Object
	g.layout = pick(g, layouts...)
	for i := range 2 + g.IntN(3) {
		se := g.serviceEntry(fmt.Sprintf("h%d", i))
		g.entries = append(g.entries, se)
		objects = append(objects, se)
	}
	hosts := g.hosts()
	g.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	for i := 0; len(hosts) > 0 && i < 2; i++ {
		n := 1 + g.IntN(min(3, len(hosts)))
		name := fmt.Sprintf("v%d", i)
		if g.oneIn(8) {
			objects = append(objects, g.byHand(name, hosts[0]))
			hosts = hosts[1:]
			continue
		}
		root := g.virtualService(name, slices.Clone(hosts[:n]))
		if g.oneIn(5) {
			objects = append(objects, g.delegate(root))
		}
		objects = append(objects, root)
		if !g.oneIn(8) { // else the next one may have the same hosts
			hosts = hosts[n:]
		}
	}
	return objects
}

func (g *generator) hosts() []string {
	var hosts []string
	for _, se := range g.entries {
		hosts = append(hosts, se.Spec.GetHosts()...)
	}
	return hosts
}

var portChoices = []*networking.ServicePort{
	{Number: 80, Name: "http", Protocol: "HTTP"},
	{Number: 8080, Name: "http-alt", Protocol: "HTTP"},
	{Number: 443, Name: "https", Protocol: "HTTPS"},
	{Number: 8443, Name: "tls", Protocol: "TLS"},
	{Number: 9000, Name: "grpc", Protocol: "GRPC"},
	{Number: 3306, Name: "tcp", Protocol: "TCP"},
}

// addresses is the beginning of those of hosts with TCP; their number follows.
const addresses = "192.0.2.1"

// layouts are the ports that a host has, of portChoices.
var layouts = [][]int{{0, 2}, {0, 2}, {0, 2}, {0}, {2}, {1}, {1, 3}, {3}, {4}, {0, 1}, {2, 3}, {5}, {5}}

func (g *generator) serviceEntry(name string) *networkingv1.ServiceEntry {
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	spec := &se.Spec
	spec.Hosts = []string{name + ".example.com"}
	spec.Location = networking.ServiceEntry_MESH_EXTERNAL
	spec.ExportTo = pick(g, nil, []string{"."}, []string{".", "istio-egress"}, []string{".", "istio-egress"})
	// Most have one port for each protocol, as hosts do.
	layout := g.layout
	if g.oneIn(6) {
		layout = pick(g, layouts...)
	}
	for _, i := range layout {
		spec.Ports = append(spec.Ports, portChoices[i])
		if portChoices[i].GetProtocol() == "TCP" {
			spec.Addresses = []string{addresses + strings.TrimPrefix(name, "h")}
		}
	}
	spec.Resolution = networking.ServiceEntry_DNS
	switch g.IntN(20) {
	case 0:
		spec.Resolution = networking.ServiceEntry_STATIC
		spec.Endpoints = []*networking.WorkloadEntry{{Address: fmt.Sprintf("198.51.100.%d", 1+g.IntN(200))}}
	case 1:
		spec.Resolution = networking.ServiceEntry_DNS_ROUND_ROBIN
	case 2:
		spec.Resolution = networking.ServiceEntry_NONE
	}
	return se
}

func (g *generator) virtualService(name string, hosts []string) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	spec := &vs.Spec
	spec.Hosts = hosts
	spec.ExportTo = pick(g, nil, []string{"."}, []string{".", "other"}, []string{"istio-egress", "."})
	spec.Gateways = pick(g, nil, nil, nil, nil, []string{"mesh"}, []string{"mesh"})
	if g.oneIn(40) {
		spec.Gateways = pick(g, []string{"ingress"}, []string{"mesh", "ingress"}, []string{"mesh", "istio-egress/egress"})
	}
	if g.oneIn(40) {
		vs.Annotations = map[string]string{"sallyport.dev/inject": "none"}
	}
	number, protocol := g.portOf(hosts[0])
	if isHTTP := protocol == "HTTP" || protocol == "GRPC"; isHTTP != g.oneIn(25) && !g.oneIn(6) {
		for i := range 1 + g.IntN(4) {
			spec.Http = append(spec.Http, g.httpRoute(hosts, number, i))
		}
	}
	if protocol == "TCP" {
		spec.Http, spec.Tcp = nil, []*networking.TCPRoute{g.tcpRoute(hosts)}
		return vs
	}
	for _, h := range hosts {
		hasTLS := slices.ContainsFunc(g.portsOf(h), isTLS)
		if hasTLS && g.oneIn(3) || len(spec.GetHttp())+len(spec.GetTls()) == 0 {
			spec.Tls = append(spec.Tls, g.tlsRoute(h, hosts))
		}
	}
	return vs
}

// delegate moves a route of the root to a VirtualService of its own.
func (g *generator) delegate(root *networkingv1.VirtualService) *networkingv1.VirtualService {
	name := root.Name + "-part"
	part := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"}}
	part.Spec.Http = []*networking.HTTPRoute{{
		Timeout: g.duration(), Route: []*networking.HTTPRouteDestination{{Destination: g.destination(root.Spec.GetHosts(), true, isPlain)}},
	}}
	root.Spec.Http = append([]*networking.HTTPRoute{{
		Match:    []*networking.HTTPMatchRequest{{Uri: &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: "/part"}}}},
		Delegate: &networking.Delegate{Name: name, Namespace: "shop"},
	}}, root.Spec.GetHttp()...)
	return part
}

// destination returns one of the hosts, or now and then another one.
func (g *generator) destination(hosts []string, withPort bool, usual func(*networking.ServicePort) bool) *networking.Destination {
	host := pick(g, hosts...)
	if g.oneIn(8) {
		host = pick(g, g.hosts()...)
	}
	d := &networking.Destination{Host: host}
	if withPort || g.oneIn(2) {
		ports := g.portsOf(host)
		if fit := slices.DeleteFunc(slices.Clone(ports), func(p *networking.ServicePort) bool { return !usual(p) }); len(fit) > 0 && !g.oneIn(15) {
			ports = fit
		}
		d.Port = &networking.PortSelector{Number: pick(g, ports...).GetNumber()}
	}
	if g.oneIn(150) {
		d.Subset = "v1"
	}
	return d
}

func isTLS(p *networking.ServicePort) bool {
	return p.GetProtocol() == "TLS" || p.GetProtocol() == "HTTPS"
}

func isPlain(p *networking.ServicePort) bool { return !isTLS(p) }

func (g *generator) portsOf(host string) []*networking.ServicePort {
	i := slices.IndexFunc(g.entries, func(se *networkingv1.ServiceEntry) bool { return se.Spec.GetHosts()[0] == host })
	return g.entries[i].Spec.GetPorts()
}

// portOf returns the first port of a host.
func (g *generator) portOf(host string) (number uint32, protocol string) {
	p := g.portsOf(host)[0]
	return p.GetNumber(), p.GetProtocol()
}

func (g *generator) tcpRoute(hosts []string) *networking.TCPRoute {
	r := &networking.TCPRoute{Route: []*networking.RouteDestination{{Destination: g.destination(hosts[:1], true, isPlain)}}}
	if g.oneIn(2) {
		r.Match = []*networking.L4MatchAttributes{{Port: 3306}}
	}
	if g.oneIn(4) {
		r.Route[0].Weight = 60
		r.Route = append(r.Route, &networking.RouteDestination{Destination: g.destination(hosts, true, isPlain), Weight: 40})
	}
	return r
}

func (g *generator) tlsRoute(host string, hosts []string) *networking.TLSRoute {
	match := &networking.TLSMatchAttributes{SniHosts: []string{host}}
	if g.oneIn(2) {
		match.Port = pick(g, uint32(443), uint32(8443))
		if ports := g.portsOf(host); !g.oneIn(15) {
			match.Port = ports[len(ports)-1].GetNumber()
		}
	}
	if g.oneIn(40) {
		match.SourceLabels = map[string]string{"app": "web"}
	}
	r := &networking.TLSRoute{Match: []*networking.TLSMatchAttributes{match}}
	r.Route = []*networking.RouteDestination{{Destination: g.destination([]string{host}, false, isTLS)}}
	if g.oneIn(6) {
		r.Route[0].Weight = 30
		r.Route = append(r.Route, &networking.RouteDestination{Destination: g.destination(hosts, true, isTLS), Weight: 70})
	}
	return r
}
