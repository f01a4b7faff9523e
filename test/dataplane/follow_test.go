// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/simulation"

	"github.com/sallyport-dev/sallyport/rules/config"
)

// outcome says where a call goes, as doc.go describes it.
func (m *meshNow) outcome(c *call) string {
	h := m.arrive(m.sidecar(c), c.connection(), c)
	return h.describe(func(t target) string { return m.leave(c, &h, t) })
}

// leave says where a call goes that a sidecar sends to a cluster.
func (m *meshNow) leave(c *call, h *hop, t target) string {
	if _, ok := m.gatewayPort(h.proxy, t.cluster); !ok {
		return m.end(h, "direct ", t)
	}
	if problem := h.problem(m, t); problem != "" {
		return problem
	}
	next := m.arrive(m.gateway(), m.next(c, h, t), c)
	return "gateway -> " + next.describe(func(t target) string {
		if _, ok := m.gatewayPort(next.proxy, t.cluster); ok {
			return "gateway (a loop)"
		}
		return m.end(&next, "", t)
	})
}

// end describes the last hop.
func (m *meshNow) end(h *hop, prefix string, t target) string {
	if t.cluster == "BlackHoleCluster" || t.cluster == "PassthroughCluster" {
		return t.cluster
	}
	if problem := h.problem(m, t); problem != "" {
		return problem
	}
	if context := upstreamTLS(m.t, h.proxy.clusters[t.cluster]); context != nil {
		return prefix + t.cluster + " originating TLS"
	}
	return prefix + t.cluster
}

// gatewayPort returns the port of an egress gateway that a cluster leads to, since it
// is the gateway's Service or has that for its endpoint; ok is false if it is neither.
func (m *meshNow) gatewayPort(p *proxy, name string) (number int, ok bool) {
	isGateway := func(host string) bool {
		return slices.ContainsFunc(m.world.config.Mesh.EgressGateways, func(g config.EgressGateway) bool { return g.Service == host })
	}
	_, _, host, number := model.ParseSubsetKey(name)
	if isGateway(string(host)) {
		return number, true
	}
	for _, locality := range p.clusters[name].GetLoadAssignment().GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			if address := e.GetEndpoint().GetAddress().GetSocketAddress(); isGateway(address.GetAddress()) {
				return int(address.GetPortValue()), true
			}
		}
	}
	return 0, false
}

// connection is what the workload sends to its sidecar.
func (c *call) connection() simulation.Call {
	in := simulation.Call{
		Address: c.address, Port: c.port, Path: c.path, HostHeader: c.host, Headers: c.headers.Clone(),
		Protocol: simulation.TCP, CallMode: simulation.CallModeOutbound,
	}
	switch c.scheme {
	case "http":
		in.Protocol = simulation.HTTP
	case "grpc":
		in.Protocol = simulation.HTTP2
	case "https", "tls":
		in.TLS, in.Sni, in.HostHeader = simulation.TLS, c.sni, ""
	}
	return in
}

// next is what the sidecar sends to the gateway.
func (m *meshNow) next(c *call, h *hop, t target) simulation.Call {
	out := c.connection()
	out.Port, _ = m.gatewayPort(h.proxy, t.cluster)
	out.Address, out.CallMode = "", simulation.CallModeGateway
	if c.isHTTP() {
		out.HostHeader, out.Path = h.rewritten(c)
	}
	if context := upstreamTLS(m.t, h.proxy.clusters[t.cluster]); context != nil {
		out.TLS, out.Sni, out.Alpn = simulation.MTLS, context.GetSni(), ""
	}
	return out
}

// A target is a cluster of a route, with its share of a hundred.
type target struct {
	cluster string
	weight  uint32
}

// arrive follows a call through one proxy.
func (m *meshNow) arrive(p *proxy, in simulation.Call, c *call) hop {
	h := hop{t: m.t, proxy: p, call: c}
	in.CustomListenerValidations = []simulation.CustomFilterChainValidation{func(fc *listener.FilterChain) error {
		h.chain = fc
		return nil
	}}
	res := p.Run(in)
	if res.Error != nil && !errors.Is(res.Error, simulation.ErrNoRoute) { // h.route knows routes better
		h.failure = res.Error
		return h
	}
	if h.isDenied(in) {
		h.failure = errDenied
		return h
	}
	h.match(&res, in)
	return h
}

var errDenied = errors.New("denied by an AuthorizationPolicy")

// problem says why a cluster cannot be reached, or nothing.
func (h *hop) problem(m *meshNow, t target) string {
	found := h.proxy.clusters[t.cluster]
	switch {
	case found == nil:
		return "no cluster " + t.cluster
	case isDynamic(found) && !h.hasDynamicFilter():
		return "no DNS filter for " + t.cluster
	case m.isExternal(h.proxy, t.cluster) && found.GetType() == cluster.Cluster_EDS && !m.hasEndpoints(h.proxy, t.cluster):
		return "no endpoints of " + t.cluster
	case h.call.scheme == "grpc" && !speaksHTTP2(m.t, found):
		return "HTTP/1.1 to " + t.cluster
	default:
		return ""
	}
}

func (m *meshNow) isExternal(p *proxy, name string) bool {
	_, _, host, _ := model.ParseSubsetKey(name)
	svc := m.istiod.PushContext().ServiceForHostname(p.model, host)
	return svc != nil && svc.MeshExternal
}

func (m *meshNow) hasEndpoints(p *proxy, name string) bool {
	_, _, host, _ := model.ParseSubsetKey(name)
	svc := m.istiod.PushContext().ServiceForHostname(p.model, host)
	shards, ok := m.istiod.Env().EndpointIndex.ShardsForService(string(host), svc.Attributes.Namespace)
	return ok && len(shards.Shards) > 0
}

// leadsOut matches outcomes of routes that are the last of a call.
var leadsOut = regexp.MustCompile(`^(\d+% )?(direct )?outbound`)

// describe puts together where the targets of a hop lead.
func (h *hop) describe(lead func(target) string) string {
	if h.failure != nil {
		return h.failure.Error()
	}
	if len(h.targets) == 0 {
		return h.answer()
	}
	var parts []string
	for _, t := range h.targets {
		part := lead(t)
		if len(h.targets) > 1 {
			part = fmt.Sprintf("%d%% %s", t.weight, part)
		}
		parts = append(parts, part)
	}
	text := strings.Join(parts, ", ")
	if details := h.details(); len(details) > 0 && leadsOut.MatchString(text) {
		text += " (" + strings.Join(details, ", ") + ")"
	}
	return text
}
