// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

var broadCIDR = &analysis.Rule{
	Name:     "serviceentry/broad-cidr",
	Severity: analysis.Error,
	Doc: `addresses must be those of the destination, not half the internet

With resolution NONE or STATIC, proxies take connections to every address in
addresses for this service entry. '0.0.0.0/0' is an open exit, and so are
'0.0.0.0/1' and '128.0.0.0/1' together.

The rule adds up what the ranges cover, each address once, however it is
written, and leaves out private and other special ranges. More than a /8 of
IPv4 or a /24 of IPv6 is denied, and so is a range of IPv6 that holds all of
IPv4. What lies in 64:ff9b::/96 (NAT64) counts as the IPv4 that it stands for. A single range that is shorter than limits.maxPrefixIPv4 or
limits.maxPrefixIPv6 of the policy (/16 and /48 unless it says otherwise) is
warned about, unless it lies in addresses.allowed of the policy or in the mesh's
clusterCIDRs.

List the prefixes that the destination publishes or, if the host is in DNS, use
resolution DNS without addresses.`,
	Run: analysis.On(checkBroadCIDR),
}

// The shortest prefixes of which the ranges may together cover as much.
const (
	totalIPv4 = 8
	totalIPv6 = 24
)

func checkBroadCIDR(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	switch se.Spec.GetResolution() {
	case networking.ServiceEntry_NONE, networking.ServiceEntry_STATIC:
	default: // istiod refuses ranges, and one address is not broad
		return
	}
	path := addressesPath
	var others []netip.Prefix
	for i, a := range se.Spec.GetAddresses() {
		switch p, ok := cidr.Parse(a); {
		case !ok:
		case isHuge(p):
			pass.Report(field.Invalid(path.Index(i), a, fmt.Sprintf(
				"must not be a range as wide as '%s', which opens the exit to much of the internet; list the prefixes of the destination", p)))
		default:
			if isBroad(pass, p) {
				pass.ReportAs(analysis.Warning, field.Invalid(path.Index(i), a, fmt.Sprintf(
					"should be a narrower range than /%d; list the prefixes of the destination, or have this one added to `addresses.allowed` of the EgressPolicy", limit(pass, p))))
			}
			others = append(others, p)
		}
	}
	if ranges := disjoint(others); coverTooMuch(ranges) {
		pass.Report(field.Invalid(path, abridged(ranges),
			"must not add up to more than a /8 of IPv4 or a /24 of IPv6, which opens the exit to much of the internet; list the prefixes of the destination"))
	}
}

// isHuge reports whether one range covers too much.
func isHuge(p netip.Prefix) bool {
	return cidr.Contains(p, netip.MustParsePrefix("0.0.0.0/0")) || cidr.Contains(p, cidr.NAT64) || coverTooMuch([]netip.Prefix{p})
}

func isBroad(pass *analysis.Pass, p netip.Prefix) bool {
	return p.Bits() < limit(pass, p) && !cidr.In(pass.Policy.AllowedAddresses, p) && !cidr.In(pass.Config.Mesh.ClusterCIDRs, p)
}

func limit(pass *analysis.Pass, p netip.Prefix) int {
	if p.Addr().Is4() {
		return pass.Policy.Limits.MaxPrefixIPv4
	}
	if cidr.Contains(cidr.NAT64, p) {
		return cidr.NAT64.Bits() + pass.Policy.Limits.MaxPrefixIPv4
	}
	return pass.Policy.Limits.MaxPrefixIPv6
}

// disjoint returns the ranges without those that lie in others, in order.
func disjoint(ranges []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ranges, netip.Prefix.Compare) // what contains comes before what it contains
	var kept []netip.Prefix
	for _, p := range ranges {
		if len(kept) == 0 || !cidr.Contains(kept[len(kept)-1], p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// coverTooMuch reports whether disjoint ranges cover too many public addresses.
func coverTooMuch(ranges []netip.Prefix) bool {
	var ipv4, ipv6 float64
	for _, p := range ranges {
		if ip, ok := cidr.Translated(p); ok {
			p = ip
		}
		switch {
		case isSpecial(p):
		case p.Addr().Is4():
			ipv4 += math.Exp2(float64(32 - p.Bits()))
		default:
			ipv6 += math.Exp2(float64(128 - p.Bits()))
		}
	}
	return ipv4 > math.Exp2(32-totalIPv4) || ipv6 > math.Exp2(128-totalIPv6)
}

// special are the large ranges that do not lead into the internet (RFC 1918, 3927,
// 4193, 4291, 6598).
var special = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
}

func isSpecial(p netip.Prefix) bool { return cidr.In(special, p) }

// abridged lists ranges as far as a message has room.
func abridged(ranges []netip.Prefix) string {
	const room = 4
	var b strings.Builder
	for i, p := range ranges {
		if i == room {
			fmt.Fprintf(&b, " and %d more", len(ranges)-room)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}
