// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"slices"
	"strings"

	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var polarity = &analysis.Rule{
	Name:     "authorizationpolicy/polarity",
	Severity: analysis.Warning,
	Doc: `policies should allow what is known, and deny the rest

A policy that allows all but something, or denies something and allows the rest,
lets through whatever is spelled in a way that nobody thought of. One that allows
what is known refuses it.

The rule looks at policies for egress gateways, egress waypoints and service
entries. It warns of a rule in ALLOW all of whose conditions are negative (notHosts,
notNamespaces, notValues and so on), and of hosts, paths or server names in DENY if
there is no ALLOW policy for the same gateway or waypoint.

Turn it around: allow the hosts that are needed. In DENY, use notHosts.`,
	Reads: []*analysis.Kind{analysis.AuthorizationPolicy},
	Run:   analysis.On(checkPolarity),
}

func checkPolarity(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	g := guardOf(pass.Config, ap)
	if g.isNone() {
		return
	}
	switch ap.Spec.GetAction() {
	case allow:
		for i, r := range ap.Spec.GetRules() {
			if onlyNegative(r) {
				pass.Report(field.Forbidden(rulesPath().Index(i),
					"should not allow all but something, since another spelling of it gets through; allow what is needed instead"))
			}
		}
	case deny:
		checkDenied(pass, ap, g)
	default: // AUDIT lets everything through, CUSTOM leaves it to others
	}
}

func checkDenied(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy, g guard) {
	looked := false
	for i, r := range ap.Spec.GetRules() {
		l, ok := firstPositive(rulesPath().Index(i), r)
		if !ok {
			continue
		}
		if !looked && hasAllow(pass, ap, g) {
			return
		}
		looked = true
		if !pass.Mesh.Complete(analysis.AuthorizationPolicy) {
			pass.NotEvaluated("not all AuthorizationPolicies are known, of which one may allow what is needed")
			return
		}
		pass.Report(field.Invalid(l.path, l.values[0],
			"should not be all that keeps requests in, since another spelling of it gets out; add a policy that allows the hosts that are needed"))
	}
}

// onlyNegative reports whether a rule has conditions, and none that says what must
// be. Of the alternatives in from and in to it is enough that one has none.
func onlyNegative(r *security.Rule) bool {
	conditions := len(r.GetFrom()) + len(r.GetTo()) + len(r.GetWhen())
	return conditions > 0 &&
		(len(r.GetFrom()) == 0 || slices.ContainsFunc(r.GetFrom(), isNegativeSource)) &&
		(len(r.GetTo()) == 0 || slices.ContainsFunc(r.GetTo(), isNegativeOperation)) &&
		!slices.ContainsFunc(r.GetWhen(), func(c *security.Condition) bool { return len(c.GetValues()) > 0 })
}

func isNegativeSource(from *security.Rule_From) bool {
	for name := range listsOf(nil, from.GetSource()) {
		if !strings.HasPrefix(name, "not") {
			return false
		}
	}
	return from.GetSource() != nil
}

func isNegativeOperation(to *security.Rule_To) bool {
	op := to.GetOperation()
	return op != nil && len(op.GetHosts())+len(op.GetPaths())+len(op.GetMethods())+len(op.GetPorts()) == 0
}

// firstPositive returns the first hosts or paths that a rule wants.
func firstPositive(path *field.Path, r *security.Rule) (list, bool) {
	for at, op := range operations(path, r) {
		if len(op.GetHosts()) > 0 {
			return list{at.Child("hosts"), op.GetHosts()}, true
		}
		if len(op.GetPaths()) > 0 {
			return list{at.Child("paths"), op.GetPaths()}, true
		}
	}
	for l := range hostConditions(path, r, false, namesHost) {
		if len(l.values) > 0 {
			return l, true
		}
	}
	return list{}, false
}

// hasAllow reports whether there is an ALLOW policy for a gateway or waypoint that
// the policy guards.
func hasAllow(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy, g guard) bool {
	namespaces := []string{ap.GetNamespace(), pass.Config.Mesh.RootNamespace}
	for _, gateway := range g.gateways {
		if own, _ := serviceOf(gateway); own != "" {
			namespaces = append(namespaces, own)
		}
	}
	slices.Sort(namespaces)
	for _, namespace := range slices.Compact(namespaces) {
		for _, other := range pass.Mesh.AuthorizationPolicies(namespace) {
			if other.Spec.GetAction() == allow && meets(g, guardOf(pass.Config, other)) {
				return true
			}
		}
	}
	return false
}

func meets(a, b guard) bool {
	if a.waypoint && b.waypoint {
		return true
	}
	for _, g := range a.gateways {
		if slices.Contains(b.gateways, g) {
			return true
		}
	}
	return false
}
