// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbac "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	httprbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	networkrbac "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xdstest"
)

// rulesOf returns what the AuthorizationPolicies became that a chain enforces.
func rulesOf(t *testing.T, chain *listener.FilterChain) []*rbac.RBAC {
	t.Helper()
	var all []*rbac.RBAC
	var configs []*anypb.Any
	for _, f := range chain.GetFilters() {
		configs = append(configs, f.GetTypedConfig())
	}
	for _, f := range xdstest.ExtractHTTPConnectionManager(t, chain).GetHttpFilters() {
		configs = append(configs, f.GetTypedConfig())
	}
	for _, c := range configs {
		network, http := &networkrbac.RBAC{}, &httprbac.RBAC{}
		if c.UnmarshalTo(network) == nil {
			all = append(all, network.GetRules())
		} else if c.UnmarshalTo(http) == nil {
			all = append(all, http.GetRules())
		}
	}
	return all
}

// A caller is what policies know of a request and of who makes it.
type caller struct {
	*request
	sni, principal string
	port           uint32
}

// isDenied reports whether an AuthorizationPolicy refuses the call.
func (h *hop) isDenied(in simulation.Call) bool {
	c := &caller{request: h.request(in), sni: in.Sni, port: uint32(in.Port)}
	if in.TLS == simulation.MTLS {
		c.principal = "spiffe://cluster.local/ns/" + h.call.namespace + "/sa/default"
	}
	return slices.ContainsFunc(rulesOf(h.t, h.chain), func(rules *rbac.RBAC) bool {
		matches := false
		for _, p := range rules.GetPolicies() {
			matches = matches || slices.ContainsFunc(p.GetPermissions(), c.mayDo) && slices.ContainsFunc(p.GetPrincipals(), c.is)
		}
		return matches == (rules.GetAction() == rbac.RBAC_DENY)
	})
}

func (c *caller) mayDo(p *rbac.Permission) bool {
	switch rule := p.GetRule().(type) {
	case *rbac.Permission_Any:
		return rule.Any
	case *rbac.Permission_AndRules:
		return !slices.ContainsFunc(rule.AndRules.GetRules(), func(p *rbac.Permission) bool { return !c.mayDo(p) })
	case *rbac.Permission_OrRules:
		return slices.ContainsFunc(rule.OrRules.GetRules(), c.mayDo)
	case *rbac.Permission_NotRule:
		return !c.mayDo(rule.NotRule)
	case *rbac.Permission_Header:
		return c.matchesHeader(rule.Header)
	case *rbac.Permission_DestinationPort:
		return c.port == rule.DestinationPort
	case *rbac.Permission_RequestedServerName:
		return matchesString(rule.RequestedServerName, c.sni)
	default:
		return false
	}
}

func (c *caller) is(p *rbac.Principal) bool {
	switch id := p.GetIdentifier().(type) {
	case *rbac.Principal_Any:
		return id.Any
	case *rbac.Principal_AndIds:
		return !slices.ContainsFunc(id.AndIds.GetIds(), func(p *rbac.Principal) bool { return !c.is(p) })
	case *rbac.Principal_OrIds:
		return slices.ContainsFunc(id.OrIds.GetIds(), c.is)
	case *rbac.Principal_NotId:
		return !c.is(id.NotId)
	case *rbac.Principal_Authenticated_:
		return c.principal != "" && matchesString(id.Authenticated.GetPrincipalName(), c.principal)
	case *rbac.Principal_FilterState:
		return c.principal != "" && matchesString(id.FilterState.GetStringMatch(), c.principal)
	default:
		return false
	}
}
