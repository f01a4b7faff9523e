// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xdstest"
)

// A hop is what one proxy does with a call.
type hop struct {
	t       *testing.T
	proxy   *proxy
	call    *call
	failure error
	chain   *listener.FilterChain
	// route is that of an HTTP request, or nil.
	route   *route.Route
	targets []target
}

var errNoRoute = errors.New("no route matched")

// match finds the route that a request takes. The simulation knows only paths, and
// of weighted clusters nothing.
func (h *hop) match(res *simulation.Result, in simulation.Call) {
	manager := xdstest.ExtractHTTPConnectionManager(h.t, h.chain)
	if manager == nil {
		h.matchTCP()
		return
	}
	routes := manager.GetRouteConfig()
	if routes == nil {
		routes = xdstest.ExtractRouteConfigurations(h.proxy.Routes)[res.RouteConfigMatched]
	}
	i := slices.IndexFunc(routes.GetVirtualHosts(), func(vh *route.VirtualHost) bool { return vh.GetName() == res.VirtualHostMatched })
	vh := routes.GetVirtualHosts()[i]
	r := h.request(in)
	i = slices.IndexFunc(vh.GetRoutes(), func(candidate *route.Route) bool { return r.matches(candidate.GetMatch()) })
	if i < 0 {
		h.failure = errNoRoute
		return
	}
	h.route = vh.GetRoutes()[i]
	h.targets = targetsOf(h.route.GetRoute())
}

// request returns what routes and policies look at.
func (h *hop) request(in simulation.Call) *request {
	return &request{path: in.Path, authority: in.HostHeader, method: h.call.method, query: h.call.query, headers: h.call.headers}
}

func targetsOf(action *route.RouteAction) []target {
	if name := action.GetCluster(); name != "" {
		return []target{{name, 100}}
	}
	var targets []target
	for _, c := range action.GetWeightedClusters().GetClusters() {
		targets = append(targets, target{c.GetName(), c.GetWeight().GetValue()})
	}
	return targets
}

func (h *hop) matchTCP() {
	proxy := xdstest.ExtractTCPProxy(h.t, h.chain)
	if proxy.GetCluster() != "" {
		h.targets = []target{{proxy.GetCluster(), 100}}
		return
	}
	for _, c := range proxy.GetWeightedClusters().GetClusters() {
		h.targets = append(h.targets, target{c.GetName(), c.GetWeight()})
	}
}

// rewritten returns the host and path that a request goes on with.
func (h *hop) rewritten(c *call) (host, path string) {
	host, path = c.host, c.path
	action := h.route.GetRoute()
	if rewrite := action.GetHostRewriteLiteral(); rewrite != "" {
		host = rewrite
	}
	if rewrite := action.GetPrefixRewrite(); rewrite != "" {
		prefix := h.route.GetMatch().GetPrefix() + h.route.GetMatch().GetPathSeparatedPrefix() + h.route.GetMatch().GetPath()
		path = rewrite + strings.TrimPrefix(path, prefix)
	}
	return host, path
}

// answer describes what a proxy answers by itself.
func (h *hop) answer() string {
	if r := h.route.GetRedirect(); r != nil {
		return fmt.Sprintf("redirect to %s%s%s", r.GetHostRedirect(), r.GetPathRedirect(), r.GetPrefixRewrite())
	}
	return fmt.Sprintf("answer %d", h.route.GetDirectResponse().GetStatus())
}

// defaultRetryOn is that of routes without retries of their own
// (istio.io/istio v1.31, pilot/pkg/networking/core/route/retry/retry.go).
const defaultRetryOn = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"

// details lists what a route does that is not Istio's default.
func (h *hop) details() []string {
	action := h.route.GetRoute()
	var all []string
	add := func(name, value string) {
		if value != "" {
			all = append(all, name+" "+value)
		}
	}
	add("host", action.GetHostRewriteLiteral())
	add("path", action.GetPrefixRewrite()+action.GetRegexRewrite().GetSubstitution())
	if d := action.GetTimeout().AsDuration(); d > 0 {
		add("timeout", d.String())
	}
	retries := action.GetRetryPolicy()
	switch {
	case h.route == nil:
	case retries == nil:
		all = append(all, "no retries")
	case retries.GetNumRetries().GetValue() != 2 || retries.GetRetryOn() != defaultRetryOn:
		add("retries", fmt.Sprintf("%d on %s", retries.GetNumRetries().GetValue(), retries.GetRetryOn()))
	}
	for _, m := range action.GetRequestMirrorPolicies() {
		add("mirror", m.GetCluster())
	}
	return all
}
