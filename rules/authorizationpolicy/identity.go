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

var identity = &analysis.Rule{
	Name:     "authorizationpolicy/identity",
	Severity: analysis.Error,
	Doc: `identities are known only with mutual TLS of the mesh

An egress gateway knows who calls only where its Gateway's server has tls.mode
ISTIO_MUTUAL. On a server with plain HTTP or PASSTHROUGH the identity is empty:
a DENY for a namespace never fires, an ALLOW for one never matches, and an ALLOW
for all but one lets everybody through, that one included.

The rule looks at policies that select egress gateways and use principals,
namespaces, serviceAccounts or trustDomains of the source, or conditions on them.
It compares with the servers of the Gateways that select the same pods, on the
ports that the rule names or on all. A DENY, and an ALLOW with a negative
condition, is denied if one of these servers does not know its peer; another ALLOW
is warned about if none does. Waypoints always know their peers.

Set tls.mode ISTIO_MUTUAL (protocol HTTPS or TLS) on the Gateway's server, or
restrict the rule to the ports of servers that have it. A port is the pod's, which is
the targetPort where the gateway's Service has the port of the server.`,
	Reads: []*analysis.Kind{analysis.Gateway, analysis.Service},
	Run:   analysis.On(checkIdentity),
}

func checkIdentity(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	action := ap.Spec.GetAction()
	g := guardOf(pass.Config, ap)
	if len(g.gateways) == 0 || action != allow && action != deny {
		return
	}
	var all []server
	for i, r := range ap.Spec.GetRules() {
		var servers []server
		looked := false
		for l, negative := range identities(rulesPath().Index(i), r) {
			if all == nil {
				var ok bool
				if all, ok = serversOf(pass, g); len(all) == 0 {
					if !ok {
						pass.NotEvaluated(unknownGateways)
					}
					return
				}
			}
			if !looked {
				servers, looked = onPorts(all, r), true
			}
			checkPeers(pass, servers, action == deny || negative, l)
		}
	}
}

// checkPeers reports a condition on the identity that servers do not know: if it
// must hold for all of them, one is enough.
func checkPeers(pass *analysis.Pass, servers []server, all bool, l list) {
	unknown := func(s server) bool { return !knowsPeer(s) }
	switch {
	case len(servers) == 0:
	case all && slices.ContainsFunc(servers, unknown):
		pass.Report(field.Invalid(l.path, l.values[0],
			"must not decide where the gateway does not know who calls, as some of its servers do not; set `tls.mode: ISTIO_MUTUAL` on the Gateway's servers, or name the `ports` of those that have it"))
	case !all && !slices.ContainsFunc(servers, knowsPeer):
		pass.ReportAs(analysis.Warning, field.Invalid(l.path, l.values[0],
			"never matches, since the gateway does not know who calls; set `tls.mode: ISTIO_MUTUAL` on the Gateway's servers"))
	}
}

// identities yields the conditions of a rule on who calls, and whether they exclude
// somebody.
func identities(path *field.Path, r *security.Rule) func(yield func(l list, negative bool) bool) {
	return func(yield func(list, bool) bool) {
		for name, l := range sourceLists(path, r) {
			negative := strings.HasPrefix(name, "not")
			switch strings.ToLower(strings.TrimPrefix(name, "not")) {
			case "principals", "namespaces", "serviceaccounts", "trustdomains":
				if !yield(l, negative) {
					return
				}
			}
		}
		for i, c := range r.GetWhen() {
			if !strings.HasPrefix(c.GetKey(), prefixSource) || c.GetKey() == "source.ip" {
				continue
			}
			at := path.Child("when").Index(i)
			if len(c.GetValues()) > 0 && !yield(list{at.Child("values"), c.GetValues()}, false) {
				return
			}
			if len(c.GetNotValues()) > 0 && !yield(list{at.Child("notValues"), c.GetNotValues()}, true) {
				return
			}
		}
	}
}
