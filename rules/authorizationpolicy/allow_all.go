// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"net/netip"
	"slices"

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
host is '*' or that the source is any address ('0.0.0.0/0', '::/0'). A policy
without rules denies everything and is fine.

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

// isOpen reports whether a rule matches every request.
func isOpen(r *security.Rule) bool {
	for name, l := range sourceLists(field.NewPath(""), r) {
		if (name != "ipBlocks" && name != "remoteIpBlocks") || !slices.ContainsFunc(l.values, isEverything) {
			return false
		}
	}
	if slices.ContainsFunc(r.GetWhen(), func(c *security.Condition) bool {
		return len(c.GetNotValues()) > 0 || !slices.Contains(c.GetValues(), "*")
	}) {
		return false
	}
	return len(r.GetTo()) == 0 || slices.ContainsFunc(r.GetTo(), func(to *security.Rule_To) bool { return isAnyOperation(to.GetOperation()) })
}

func isEverything(block string) bool {
	p, ok := cidr.Parse(block)
	return ok && (p.Bits() == 0 || cidr.Contains(p, netip.MustParsePrefix("0.0.0.0/0")))
}

func isAnyOperation(op *security.Operation) bool {
	anything := func(values []string) bool { return len(values) == 0 || slices.Contains(values, "*") }
	return anything(op.GetHosts()) && anything(op.GetPaths()) && anything(op.GetMethods()) &&
		len(op.GetPorts())+len(op.GetNotHosts())+len(op.GetNotPaths())+len(op.GetNotMethods())+len(op.GetNotPorts()) == 0
}
