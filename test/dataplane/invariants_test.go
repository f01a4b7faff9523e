// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// checkValid fails if istiod made what Envoy would refuse.
func (m *meshNow) checkValid(t *testing.T) {
	t.Helper()
	m.gateway()
	for _, p := range m.proxies {
		xdstest.ValidateListeners(t, p.Listeners)
		xdstest.ValidateClusters(t, p.Clusters)
		xdstest.ValidateRouteConfigurations(t, p.Routes)
	}
}

// complaint returns what istiod's validation says of an object: errors and warnings.
func complaint(t *testing.T, obj analysis.Object) error {
	t.Helper()
	kind := analysis.KindOf(obj)
	schema, ok := collections.Pilot.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(new(kind.WithVersion(kind.Versions[0]))))
	require.True(t, ok)
	warning, err := schema.ValidateConfig(configOf(t, obj))
	return errors.Join(warning, err)
}

// checkServerNames fails if two chains of a listener have a server name in common and
// differ in nothing else. Envoy refuses such a listener, and istiod lets it pass.
func (m *meshNow) checkServerNames(t *testing.T) {
	t.Helper()
	for id, p := range m.proxies {
		for _, l := range p.Listeners {
			seen := map[string]bool{}
			for _, chain := range l.GetFilterChains() {
				if len(chain.GetFilterChainMatch().GetServerNames()) == 0 {
					continue
				}
				rest := proto.CloneOf(chain.GetFilterChainMatch())
				rest.ServerNames = nil
				for _, name := range chain.GetFilterChainMatch().GetServerNames() {
					key := name + " " + xdstest.Dump(t, rest)
					if seen[key] {
						t.Errorf("%s: Envoy refuses listener %s, in which two chains match %s", id, l.GetName(), name)
					}
					seen[key] = true
				}
			}
		}
	}
}

// referenced returns the clusters that routes and filters of a proxy name.
func (p *proxy) referenced(t *testing.T) []string {
	t.Helper()
	names := map[string]bool{}
	for _, routes := range p.Routes {
		for _, vh := range routes.GetVirtualHosts() {
			for _, r := range vh.GetRoutes() {
				for _, target := range targetsOf(r.GetRoute()) {
					names[target.cluster] = true
				}
				for _, mirror := range r.GetRoute().GetRequestMirrorPolicies() {
					names[mirror.GetCluster()] = true
				}
			}
		}
	}
	for _, l := range p.Listeners {
		for _, chain := range reachable(l) {
			for _, target := range tcpTargets(t, chain) {
				names[target.cluster] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// reachable returns the chains of a listener that a connection can come to. The
// default one is none if another is for the very address of the listener.
func reachable(l *listener.Listener) []*listener.FilterChain {
	address := l.GetAddress().GetSocketAddress().GetAddress()
	for _, chain := range l.GetFilterChains() {
		ranges := chain.GetFilterChainMatch().GetPrefixRanges()
		if len(ranges) == 1 && ranges[0].GetAddressPrefix() == address && ranges[0].GetPrefixLen().GetValue() == 32 {
			return l.GetFilterChains()
		}
	}
	return append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain())
}

func tcpTargets(t *testing.T, chain *listener.FilterChain) []target {
	t.Helper()
	if chain == nil || xdstest.ExtractTCPProxy(t, chain) == nil {
		return nil
	}
	h := hop{t: t, chain: chain}
	h.matchTCP()
	return h.targets
}

// dangling returns the clusters, with the proxy, that are named and do not exist.
func (m *meshNow) dangling(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, id := range slices.Sorted(maps.Keys(m.proxies)) {
		for _, name := range m.proxies[id].referenced(t) {
			if m.proxies[id].clusters[name] == nil {
				all = append(all, id+" "+name)
			}
		}
	}
	return all
}

var direct = regexp.MustCompile(`direct (outbound\S*?)(?:,|\s|$)`)

// checkWayOut fails if a sidecar has a route to a host outside the mesh that no
// call of the world says is taken.
func (m *meshNow) checkWayOut(t *testing.T) {
	t.Helper()
	allowed := map[string]bool{}
	for _, c := range m.world.calls {
		for _, found := range direct.FindAllStringSubmatch(c.with, -1) {
			allowed[found[1]] = true
		}
	}
	for id, p := range m.proxies {
		if p.model.Type != model.SidecarProxy {
			continue
		}
		for _, name := range p.referenced(t) {
			_, isGateway := m.gatewayPort(p, name)
			if m.isExternal(p, name) && !isGateway && !allowed[name] {
				t.Errorf("the sidecar of %s has a route to %s past the gateway", id, name)
			}
		}
	}
}

// checkPatience fails if the sidecar gives up on the gateway before the gateway
// gives up on the external host.
func (m *meshNow) checkPatience(t *testing.T, c *call) {
	t.Helper()
	h := m.arrive(m.sidecar(c), c.connection(), c)
	for _, next := range h.targets {
		if _, ok := m.gatewayPort(h.proxy, next.cluster); !ok || h.route == nil {
			continue
		}
		outer := h.route.GetRoute().GetTimeout().AsDuration()
		last := m.arrive(m.gateway(), m.next(c, &h, next), c)
		inner := last.route.GetRoute().GetTimeout().AsDuration()
		if outer > 0 && len(last.targets) > 0 && (inner == 0 || inner >= outer) {
			t.Errorf("%s: the sidecar waits %s, the gateway %s", c.text, outer, inner)
		}
	}
}
