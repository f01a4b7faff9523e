// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"strings"

	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var source = &analysis.Rule{
	Name:     "authorizationpolicy/source",
	Severity: analysis.Warning,
	Doc: `who may go out must not be what the client says it is

remoteIpBlocks and remote.ip are taken from the X-Forwarded-For header, and
request.headers are what the client has written: any workload can claim any of
them.

The rule looks at policies for egress gateways, egress waypoints and service
entries, and warns of a rule that knows its callers by nothing else: no identity of
the mesh, no address of the connection, no token.

Use principals or serviceAccounts, with tls.mode ISTIO_MUTUAL on the gateway's
server.`,
	Run: analysis.On(checkSource),
}

func checkSource(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	if !guards(pass, ap) {
		return
	}
	for i, r := range ap.Spec.GetRules() {
		if claimed, ok := onlyClaimed(rulesPath().Index(i), r); ok {
			pass.Report(field.Invalid(claimed.path, claimed.values[0],
				"should not be all that says who calls, since every workload can claim it; use `principals` or `serviceAccounts`, with ISTIO_MUTUAL on the gateway's server"))
		}
	}
}

// onlyClaimed returns a condition on the caller that the caller can meet at will,
// if there is no other: in the conditions, and in one of the alternatives of from.
func onlyClaimed(path *field.Path, r *security.Rule) (claimed list, ok bool) {
	for i, c := range r.GetWhen() {
		key := c.GetKey()
		switch {
		case strings.HasPrefix(key, prefixSource), strings.HasPrefix(key, prefixAuth):
			return list{}, false
		case isHostHeader(key): // where to, not who
		case key == keyRemoteIP, strings.HasPrefix(key, prefixHeader):
			claimed = list{path.Child("when").Index(i).Child("key"), []string{key}}
		}
	}
	known := len(r.GetFrom()) > 0
	for i, from := range r.GetFrom() {
		l, only := claimedSource(path.Child("from").Index(i).Child("source"), from.GetSource())
		if only {
			known = false
			if l.path != nil {
				claimed = l
			}
		}
	}
	return claimed, !known && claimed.path != nil
}

// claimedSource reports whether a source is known by nothing but what it claims,
// and returns that.
func claimedSource(path *field.Path, s *security.Source) (claimed list, only bool) {
	for name, l := range listsOf(path, s) {
		if !strings.EqualFold(strings.TrimPrefix(name, "not"), "remoteIpBlocks") {
			return list{}, false
		}
		claimed = l
	}
	return claimed, true
}
