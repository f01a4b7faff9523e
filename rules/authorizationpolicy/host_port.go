// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"fmt"
	"strings"

	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var hostPort = &analysis.Rule{
	Name:     "authorizationpolicy/host-port",
	Severity: analysis.Error,
	Doc: `a host must be denied with a port, too

The Host header may carry a port, and routes match 'bank.example.com:443' like
'bank.example.com'. The hosts of an authorization policy do not: a client that adds
the port slips past a DENY for the name alone, or past the notHosts of an ALLOW
(ISTIO-SECURITY-2021-008).

The rule looks at hosts in DENY and notHosts in ALLOW, and at conditions on
request.headers[:authority] or [host]: an exact name needs a sibling with ':*'. A name with a port is meant for that port. A suffix such as
'*.example.com' cannot have one, since a pattern has only one asterisk, and is
warned about. The hosts of an ALLOW are not judged: there a forgotten port fails
closed.

Write both, as in hosts: ['bank.example.com', 'bank.example.com:*'], or allow what
is needed instead.`,
	Run: analysis.On(checkHostPort),
}

func checkHostPort(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	action := ap.Spec.GetAction()
	if action != allow && action != deny {
		return
	}
	for i, r := range ap.Spec.GetRules() {
		for path, op := range operations(rulesPath().Index(i), r) {
			if action == deny {
				checkPorts(pass, list{path.Child("hosts"), op.GetHosts()})
			} else {
				checkPorts(pass, list{path.Child("notHosts"), op.GetNotHosts()})
			}
		}
		for l := range hostConditions(rulesPath().Index(i), r, action == allow, isHostHeader) {
			checkPorts(pass, l)
		}
	}
}

func checkPorts(pass *analysis.Pass, l list) {
	var prefixes map[string]bool
	for i, h := range l.values {
		switch {
		case h == "*", strings.Contains(h, ":"), strings.HasSuffix(h, "*"):
			continue
		case strings.HasPrefix(h, "*"):
			pass.ReportAs(analysis.Warning, field.Invalid(l.path.Index(i), h, fmt.Sprintf(
				"should not be relied on: a Host header with a port, such as '%s:443', does not match it; use a policy that allows the hosts that are needed", "a"+strings.TrimPrefix(h, "*"))))
			continue
		}
		if prefixes == nil {
			prefixes = prefixesOf(l.values)
		}
		if name := strings.ToLower(h); !prefixes[""] && !prefixes[name] && !prefixes[name+":"] {
			pass.Report(field.Invalid(l.path.Index(i), h, fmt.Sprintf(
				"must come with '%s:*', else a Host header with a port slips past it; add that to the list", h)))
		}
	}
}

// prefixesOf returns what stands before the asterisk in patterns that end in one.
func prefixesOf(patterns []string) map[string]bool {
	prefixes := map[string]bool{}
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			prefixes[strings.ToLower(prefix)] = true
		}
	}
	return prefixes
}
