// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"math"
	"net/netip"
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

var allowAll = &analysis.Rule{
	Name:     "authorizationpolicy/allow-all",
	Severity: analysis.Error,
	Doc: `the way out must not be open to all

A rule without any condition in an ALLOW policy lets every workload through the
egress gateway or waypoint, to every host.

The rule looks at policies for egress gateways, egress waypoints and service
entries. Denied are rules that are empty, and rules that say no more than that the
host is '*', that the path is '/*' or that the source is any address ('0.0.0.0/0',
'::/0', or ranges that add up to it) or anybody in the mesh ('*' in principals,
namespaces or trustDomains). Of several alternatives in from and in to, one such is
enough. A policy without rules denies everything and is fine.

Say who may go where: from with the workloads' identities, and to with hosts, or
connection.sni for TLS that is passed through.`,
	Run: analysis.On(checkAllowAll),
}

func checkAllowAll(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	if ap.Spec.GetAction() != allow || !guards(pass, ap) {
		return
	}
	for i, r := range ap.Spec.GetRules() {
		if isOpen(r) {
			pass.Report(field.Forbidden(rulesPath().Index(i),
				"must not let every workload out to every host; say who may go where, with `from` and with `to` or `when`"))
		}
	}
}

// isOpen reports whether a rule matches every request: of the alternatives in from
// and in to it is enough that one does.
func isOpen(r *security.Rule) bool {
	return (len(r.GetFrom()) == 0 || slices.ContainsFunc(r.GetFrom(), func(from *security.Rule_From) bool { return isAnySource(from.GetSource()) })) &&
		(len(r.GetTo()) == 0 || slices.ContainsFunc(r.GetTo(), func(to *security.Rule_To) bool { return isAnyOperation(to.GetOperation()) })) &&
		!slices.ContainsFunc(r.GetWhen(), func(c *security.Condition) bool { return !isAnything(c) })
}

// isAnySource reports whether a source is that of every workload.
func isAnySource(s *security.Source) bool {
	for name, l := range listsOf(nil, s) {
		switch name {
		case "ipBlocks", "remoteIpBlocks":
			if !areEverything(l.values) {
				return false
			}
		case "principals", "namespaces", "trustDomains": // '*' is everybody in the mesh
			if !slices.Contains(l.values, "*") {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// isAnything reports whether every request meets a condition.
func isAnything(c *security.Condition) bool {
	switch key := c.GetKey(); {
	case len(c.GetNotValues()) > 0, strings.HasPrefix(key, prefixAuth): // not everybody has a token
		return false
	case strings.HasSuffix(key, ".ip"):
		return areEverything(c.GetValues())
	default:
		return slices.Contains(c.GetValues(), "*")
	}
}

// areEverything reports whether ranges together hold every address of IPv4 or of
// IPv6.
func areEverything(blocks []string) bool {
	var ranges []netip.Prefix
	for _, b := range blocks {
		switch p, ok := cidr.Parse(b); {
		case !ok:
		case cidr.Contains(p, netip.MustParsePrefix("0.0.0.0/0")):
			return true
		default:
			ranges = append(ranges, p)
		}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare) // what contains comes before what it contains
	var ipv4, ipv6 float64
	var last netip.Prefix
	for _, p := range ranges {
		switch {
		case cidr.Contains(last, p):
			continue
		case p.Addr().Is4():
			ipv4 += math.Exp2(-float64(p.Bits()))
		default:
			ipv6 += math.Exp2(-float64(p.Bits()))
		}
		last = p
	}
	return ipv4 == 1 || ipv6 == 1
}

func isAnyOperation(op *security.Operation) bool {
	anything := func(values []string) bool { return len(values) == 0 || slices.Contains(values, "*") }
	return anything(op.GetHosts()) && (anything(op.GetPaths()) || slices.ContainsFunc(op.GetPaths(), isAnyPath)) && anything(op.GetMethods()) &&
		len(op.GetPorts())+len(op.GetNotHosts())+len(op.GetNotPaths())+len(op.GetNotMethods())+len(op.GetNotPorts()) == 0
}

// isAnyPath reports whether a path matches every other: all begin with a slash.
func isAnyPath(path string) bool { return path == "/*" || strings.Trim(path, "/") == "{**}" }
