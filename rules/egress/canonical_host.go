// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var canonicalHost = &analysis.Rule{
	Name:     "egress/canonical-host",
	Severity: analysis.Error,
	Doc: `a host must have one spelling

DNS knows neither upper nor lower case, and a dot at the end says nothing. But
istiod keeps hosts as they are written, and takes API.example.com,
api.example.com. and api.example.com for three hosts. So another spelling is
not the same host to a DestinationRule or a policy elsewhere that compares
strings, is a second service beside the first, and collides with it in the
proxies, where case does not count.

The rule looks at the hosts of ServiceEntries and the names among their
endpoints; at the hosts, sniHosts, destinations and mirrors of VirtualServices;
and at the host and every sni of DestinationRules. They must be in lower case,
in ASCII, without a dot at the end, and no longer than the 253 bytes that a name
in DNS can have. IP addresses and paths of sockets are no names, and are left
alone. So are the hosts of AuthorizationPolicies, which are compared without
regard to case.

Write names as the message shows them; an internationalized name in the form
that begins with xn--.`,
	Run: slices.Concat(
		analysis.On(checkServiceEntryHosts),
		analysis.On(checkVirtualServiceHosts),
		analysis.On(checkDestinationRuleHosts),
	),
}

func checkServiceEntryHosts(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	checkSpellings(pass, hostsPath, se.Spec.GetHosts())
	for i, e := range se.Spec.GetEndpoints() {
		if address := e.GetAddress(); !strings.HasPrefix(address, "unix:") {
			checkSpelling(pass, address, func() *field.Path { return specPath.Child("endpoints").Index(i).Child("address") })
		}
	}
}

func checkVirtualServiceHosts(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	checkSpellings(pass, hostsPath, vs.Spec.GetHosts())
	for f := range route.Forwards(vs) {
		checkSpelling(pass, f.Destination.GetHost(), func() *field.Path { return f.Path().Child("host") })
	}
	for i, r := range vs.Spec.GetHttp() {
		checkSpelling(pass, r.GetMirror().GetHost(), func() *field.Path { return specPath.Child("http").Index(i).Child("mirror", "host") })
		for j, m := range r.GetMirrors() {
			checkSpelling(pass, m.GetDestination().GetHost(), func() *field.Path {
				return specPath.Child("http").Index(i).Child("mirrors").Index(j).Child("destination", "host")
			})
		}
	}
	for i, r := range vs.Spec.GetTls() {
		for j, m := range r.GetMatch() {
			checkSpellings(pass, specPath.Child("tls").Index(i).Child("match").Index(j).Child("sniHosts"), m.GetSniHosts())
		}
	}
}

func checkDestinationRuleHosts(pass *analysis.Pass, dr *networkingv1.DestinationRule) {
	checkSpelling(pass, dr.Spec.GetHost(), func() *field.Path { return specPath.Child("host") })
	checkServerNames(pass, specPath.Child("trafficPolicy"), dr.Spec.GetTrafficPolicy())
	for i, s := range dr.Spec.GetSubsets() {
		checkServerNames(pass, specPath.Child("subsets").Index(i).Child("trafficPolicy"), s.GetTrafficPolicy())
	}
}

// checkServerNames looks at the names that proxies send to servers: for all
// ports, and for those with settings of their own.
func checkServerNames(pass *analysis.Pass, path *field.Path, policy *networking.TrafficPolicy) {
	checkSpelling(pass, policy.GetTls().GetSni(), func() *field.Path { return path.Child("tls", "sni") })
	for i, p := range policy.GetPortLevelSettings() {
		checkSpelling(pass, p.GetTls().GetSni(), func() *field.Path { return path.Child("portLevelSettings").Index(i).Child("tls", "sni") })
	}
}

func checkSpellings(pass *analysis.Pass, path *field.Path, hosts []string) {
	for i, h := range hosts {
		checkSpelling(pass, h, func() *field.Path { return path.Index(i) })
	}
}

// checkSpelling makes the path only where it is needed: there are many hosts, and
// most are well written.
func checkSpelling(pass *analysis.Pass, h string, path func() *field.Path) {
	if problem := misspelling(h); problem != "" {
		pass.Report(field.Invalid(path(), h, problem))
	}
}

// maxName is the most bytes that a name can have in DNS, written without a dot
// at its end.
const maxName = 253

// misspelling says what is wrong with how a host is written, or returns "".
func misspelling(h string) string {
	normal := host.Normal(h)
	switch {
	case normal == h && len(h) <= maxName && isASCII(h), isIPv6(h):
		return ""
	case len(normal) > maxName:
		return fmt.Sprintf("must have at most %d bytes, as a name in DNS does", maxName)
	case !isASCII(normal):
		return "must be in ASCII; write an internationalized name in the form that begins with 'xn--'"
	case !isASCII(h):
		return "must be in ASCII" + instead(normal)
	case strings.ToLower(h) != h:
		return "must be in lower case" + instead(normal)
	default:
		return "must not end in a dot" + instead(normal)
	}
}

func instead(name string) string {
	if name = strings.TrimRight(name, "."); name == "" {
		return ""
	}
	return fmt.Sprintf("; write '%s'", name)
}

// isIPv6 reports whether h is an address with letters in it, which everybody
// parses.
func isIPv6(h string) bool {
	if !strings.Contains(h, ":") {
		return false
	}
	_, ok := cidr.ParseAddr(h)
	return ok
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
