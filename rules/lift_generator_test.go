// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/mutate"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// liftRounds is how many worlds are made.
const liftRounds = 4000

const twoGateways = `apiVersion: config.sallyport.dev/v1alpha1
kind: Configuration
mesh:
  egressGateways:
  - name: default
    gateway: istio-egress/egress
    service: egress.istio-egress.svc.cluster.local
    tcp:
    - {host: a.example.com, port: 3306, gatewayPort: 13306}
    - {host: a.example.com, port: 3307, gatewayPort: 13307}
  - name: other
    gateway: other-egress/egress
    service: egress.other-egress.svc.cluster.local
    ports: {http: 8080, tls: 8443}
`

// A liftWorld is a mesh with egress gateways, and a VirtualService in it.
type liftWorld struct {
	generator
	in analysis.Input
	vs *networkingv1.VirtualService
}

var liftHosts = []string{"a.example.com", "b.example.com", "c.example.com", "example.com"}

func newLiftWorld(t *testing.T, seed uint64) *liftWorld {
	t.Helper()
	w := &liftWorld{generator: generator{rand.New(rand.NewPCG(seed, 4))}}
	conf, err := config.Parse([]byte(twoGateways))
	require.NoError(t, err)
	index := mesh.New(conf)
	for _, h := range liftHosts {
		if w.IntN(8) > 0 {
			index.Set(w.liftEntry(h))
		}
	}
	for _, d := range []string{"delegate", "delegate2"} {
		vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: d}}
		vs.Spec.Http = w.liftHTTP(1)
		index.Set(vs)
	}
	for _, h := range liftHosts {
		if w.IntN(3) == 0 {
			dr := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: pick(w.generator, "shop", "istio-egress"), Name: h}}
			dr.Spec.Host = h
			dr.Spec.TrafficPolicy = &networking.TrafficPolicy{Tls: &networking.ClientTLSSettings{Mode: networking.ClientTLSSettings_SIMPLE}}
			index.Set(dr)
		}
	}
	index.SetComplete(analysis.Kinds()...)
	for _, ns := range []string{"istio-egress", "other-egress"} {
		gw := &networkingv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "egress"}}
		h, s := uint32(80), uint32(443)
		if ns == "other-egress" {
			h, s = 8080, 8443
		}
		gw.Spec.Selector = map[string]string{"istio": ns}
		gw.Spec.Servers = []*networking.Server{
			{Port: &networking.Port{Number: h, Name: "http", Protocol: "HTTP"}, Hosts: []string{"*"}},
			{Port: &networking.Port{Number: s, Name: "tls", Protocol: "TLS"}, Hosts: []string{"*"}, Tls: &networking.ServerTLSSettings{Mode: networking.ServerTLSSettings_PASSTHROUGH}},
			{Port: &networking.Port{Number: 13306, Name: "tcp", Protocol: "TCP"}, Hosts: []string{"*"}},
			{Port: &networking.Port{Number: 13307, Name: "tcp2", Protocol: "TCP"}, Hosts: []string{"*"}},
		}
		index.Set(gw)
	}
	pol := *policy.Default()
	pol.Gateway.Mode = pick(w.generator, policy.ModeInject, policy.ModeRequire)
	pol.Gateway.Name = pick(w.generator, "default", "default", "other")
	w.vs = w.liftVS()
	w.in = analysis.Input{Object: w.vs, Policy: &pol, Config: conf, Mesh: index, Now: time.Unix(0, 0)}
	return w
}

func (w *liftWorld) liftEntry(h string) *networkingv1.ServiceEntry {
	g := w.generator
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: h}}
	se.Spec.Hosts = []string{h}
	se.Spec.Resolution = pick(g, networking.ServiceEntry_DNS, networking.ServiceEntry_DNS, networking.ServiceEntry_DNS, networking.ServiceEntry_NONE)
	if g.IntN(12) > 0 {
		se.Spec.ExportTo = []string{".", "istio-egress", "other-egress"}
	} else {
		se.Spec.ExportTo = []string{"."}
	}
	if g.IntN(5) > 0 {
		se.Spec.Ports = append(se.Spec.Ports, &networking.ServicePort{Number: pick[uint32](g, 80, 80, 80, 8080), Name: "http", Protocol: pick(g, "HTTP", "GRPC")})
	}
	if g.IntN(5) > 1 {
		se.Spec.Ports = append(se.Spec.Ports, &networking.ServicePort{Number: 443, Name: "tls", Protocol: pick(g, "HTTPS", "TLS")})
	}
	if g.IntN(8) == 0 {
		se.Spec.Ports = append(se.Spec.Ports, &networking.ServicePort{Number: 3306, Name: "tcp", Protocol: "TCP"})
		if g.IntN(2) == 0 {
			se.Spec.Ports = append(se.Spec.Ports, &networking.ServicePort{Number: 3307, Name: "tcp2", Protocol: "TCP"})
		}
	}
	return se
}

func (w *liftWorld) liftVS() *networkingv1.VirtualService {
	g := w.generator
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}}
	vs.Spec.Hosts = append(vs.Spec.Hosts, pick(g, liftHosts...))
	if h := pick(g, liftHosts...); g.IntN(3) == 0 && !slices.Contains(vs.Spec.GetHosts(), h) {
		vs.Spec.Hosts = append(vs.Spec.Hosts, h)
	}
	vs.Spec.Gateways = pick(g, nil, nil, nil, nil, []string{"mesh"}, []string{"istio-egress/egress"}, []string{"mesh", "istio-egress/egress"}, []string{"mesh", "istio-system/ingress"})
	vs.Spec.ExportTo = pick(g, nil, nil, []string{"."}, []string{"*"}, []string{"istio-egress"})
	if g.IntN(4) > 0 {
		vs.Spec.Http = w.liftHTTP(1 + g.IntN(3))
	}
	if g.IntN(3) == 0 {
		for range 1 + g.IntN(2) {
			r := &networking.TLSRoute{Match: []*networking.TLSMatchAttributes{{SniHosts: []string{pick(g, vs.Spec.GetHosts()...)}, Port: pick[uint32](g, 0, 443)}}}
			r.Route = []*networking.RouteDestination{{Destination: w.liftDest(0, 443, 443, 8443, 3306)}}
			if g.IntN(5) == 0 {
				r.Match[0].Gateways = []string{pick(g, "mesh", "istio-egress/egress")}
			}
			vs.Spec.Tls = append(vs.Spec.Tls, r)
		}
	}
	if g.IntN(10) == 0 {
		r := &networking.TCPRoute{Route: []*networking.RouteDestination{{Destination: w.liftDest(0, 3306)}}}
		if g.IntN(2) == 0 {
			r.Match = []*networking.L4MatchAttributes{{Port: pick[uint32](g, 3306, 3307)}}
		}
		vs.Spec.Tcp = append(vs.Spec.Tcp, r)
	}
	return vs
}

func (w *liftWorld) liftDest(ports ...uint32) *networking.Destination {
	d := &networking.Destination{Host: pick(w.generator, append(slices.Clone(liftHosts[:3]), "a.example.com", "a.example.com", "a.example.com")...)}
	if n := pick(w.generator, ports...); n != 0 {
		d.Port = &networking.PortSelector{Number: n}
	}
	return d
}

func (w *liftWorld) liftHTTP(n int) []*networking.HTTPRoute {
	g := w.generator
	var routes []*networking.HTTPRoute
	for i := range n {
		r := &networking.HTTPRoute{Name: pick(g, "", "own", fmt.Sprint("r", i))}
		for range pick(g, 0, 0, 1, 2) {
			m := &networking.HTTPMatchRequest{Port: pick[uint32](g, 0, 0, 0, 80)}
			if g.IntN(4) > 0 {
				m.Uri = &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: pick(g, "/a", "/b")}}
			}
			if g.IntN(15) == 0 {
				m.SourceLabels = map[string]string{"app": "a"}
			}
			if g.IntN(6) == 0 {
				m.Gateways = []string{pick(g, "mesh", "mesh", "istio-egress/egress")}
			}
			r.Match = append(r.Match, m)
		}
		switch g.IntN(8) {
		case 0:
			r.Redirect = &networking.HTTPRedirect{Uri: "/a"}
		case 1:
			if n > 1 {
				r.Delegate = &networking.Delegate{Name: "delegate"}
				break
			}
			fallthrough
		default:
			r.Route = []*networking.HTTPRouteDestination{{Destination: w.liftDest(0, 0, 80, 443)}}
			if g.IntN(4) == 0 {
				r.Route = append(r.Route, &networking.HTTPRouteDestination{Destination: w.liftDest(0, 80), Weight: 10})
				r.Route[0].Weight = 90
			}
			if g.IntN(10) == 0 {
				r.Mirror = w.liftDest(0, 80)
			}
		}
		if g.IntN(3) == 0 {
			r.Timeout = durationpb.New(pick(g, time.Second, 5*time.Second))
		}
		if g.IntN(3) == 0 {
			r.Retries = &networking.HTTPRetry{Attempts: 1}
		}
		routes = append(routes, r)
	}
	return routes
}

func (w *liftWorld) apply(t *testing.T, vs *networkingv1.VirtualService) *networkingv1.VirtualService {
	t.Helper()
	in := w.in
	vs = vs.DeepCopy()
	in.Object = vs
	_, failure := analysis.Mutate(mutate.Mutators, in)
	require.Nil(t, failure)
	return vs
}
