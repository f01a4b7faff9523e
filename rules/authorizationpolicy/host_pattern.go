// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"strings"

	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var hostPattern = &analysis.Rule{
	Name:     "authorizationpolicy/host-pattern",
	Severity: analysis.Error,
	Doc: `a host pattern must end at a dot or a port

The hosts of an authorization policy are text: '*example.com' also matches
'evilexample.com', and 'example.com*' also matches 'example.com.evil.net', which
anyone can register.

The rule looks at what lets requests through: hosts in ALLOW and notHosts in DENY,
and the values or notValues there of conditions on connection.sni and on
request.headers[:authority] or [host]. An asterisk in front must be followed by a dot, one at the end must come after a colon. A lone '*'
is judged by authorizationpolicy/allow-all.

Write '*.example.com' and 'example.com', and 'example.com:*' for any port.`,
	Run: analysis.On(checkHostPattern),
}

func checkHostPattern(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	action := ap.Spec.GetAction()
	if action != allow && action != deny {
		return
	}
	for l := range hostLists(ap, action == deny) {
		for i, h := range l.values {
			switch {
			case h == "*":
			case strings.HasPrefix(h, "*") && !strings.HasPrefix(h, "*."):
				pass.Report(field.Invalid(l.path.Index(i), h,
					"must not begin inside a label: '*example.com' also matches 'evilexample.com'; write '*.example.com' and 'example.com'"))
			case strings.HasSuffix(h, "*") && !strings.HasSuffix(h, ":*"):
				pass.Report(field.Invalid(l.path.Index(i), h,
					"must not end in an asterisk: 'example.com*' also matches 'example.com.evil.net'; write 'example.com', and 'example.com:*' for any port"))
			}
		}
	}
}
