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

var protocol = &analysis.Rule{
	Name:     "authorizationpolicy/protocol",
	Severity: analysis.Warning,
	Doc: `conditions on requests need a server that reads requests

Where a gateway passes TLS or TCP through it sees connections, not requests. istiod
then drops a rule of an ALLOW policy that asks for hosts, methods, paths or tokens,
so that it never matches; of a rule in DENY it drops these conditions alone, so that
it denies everything on the port.

The rule looks at policies that select egress gateways, and compares with the
servers of the Gateways that select the same pods, on the ports that the rule names
or on all. It warns if none of them reads HTTP.

For TLS that is passed through use a condition: when key 'connection.sni'.`,
	Reads: []*analysis.Kind{analysis.Gateway, analysis.Service},
	Run:   analysis.On(checkProtocol),
}

func checkProtocol(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	g := guardOf(pass.Config, ap)
	if len(g.gateways) == 0 {
		return
	}
	var all []server
	for i, r := range ap.Spec.GetRules() {
		l, ok := firstOfRequest(rulesPath().Index(i), r)
		if !ok {
			continue
		}
		if all == nil {
			var known bool
			if all, known = serversOf(pass, g); len(all) == 0 {
				if !known {
					pass.NotEvaluated(unknownGateways)
				}
				return
			}
		}
		servers := onPorts(all, r)
		if len(servers) == 0 || slices.ContainsFunc(servers, readsHTTP) {
			continue
		}
		effect := "never matches"
		if ap.Spec.GetAction() == deny {
			effect = "is dropped, so that everything on the port is denied"
		}
		pass.Report(field.Invalid(l.path, l.values[0],
			effect+", since the gateway passes connections through here and sees no requests; use a condition on `connection.sni`"))
	}
}

// firstOfRequest returns the first condition of a rule that only a request meets.
func firstOfRequest(path *field.Path, r *security.Rule) (list, bool) {
	for at, op := range operations(path, r) {
		for _, f := range []struct {
			name   string
			values []string
		}{
			{"hosts", op.GetHosts()},
			{"notHosts", op.GetNotHosts()},
			{"methods", op.GetMethods()},
			{"notMethods", op.GetNotMethods()},
			{"paths", op.GetPaths()},
			{"notPaths", op.GetNotPaths()},
		} {
			if len(f.values) > 0 {
				return list{at.Child(f.name), f.values}, true
			}
		}
	}
	for name, l := range sourceLists(path, r) {
		if strings.EqualFold(strings.TrimPrefix(name, "not"), "requestPrincipals") {
			return l, true
		}
	}
	for i, c := range r.GetWhen() {
		if strings.HasPrefix(c.GetKey(), prefixRequest) {
			return list{path.Child("when").Index(i).Child("key"), []string{c.GetKey()}}, true
		}
	}
	return list{}, false
}
