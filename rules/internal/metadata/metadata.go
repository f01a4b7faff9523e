// SPDX-License-Identifier: Apache-2.0

// Package metadata knows the addresses and names at which clouds hand out the
// metadata of machines and the credentials that go with them. All rules that
// look at a host or an address ask here.
package metadata

import (
	"net/netip"

	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var ranges = []struct {
	prefix netip.Prefix
	name   string
}{
	// All of link-local IPv4: 169.254.169.254 nearly everywhere, 169.254.170.2
	// for ECS tasks, 169.254.170.23 for EKS Pod Identity.
	{netip.MustParsePrefix("169.254.0.0/16"), "169.254.0.0/16"},
	{netip.MustParsePrefix("fe80::/10"), "fe80::/10"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "fd00:ec2::254"},    // EC2
	{netip.MustParsePrefix("fd00:ec2::23/128"), "fd00:ec2::23"},      // EKS Pod Identity
	{netip.MustParsePrefix("fd20:ce::254/128"), "fd20:ce::254"},      // Google Cloud
	{netip.MustParsePrefix("fd00:42::42/128"), "fd00:42::42"},        // Scaleway
	{netip.MustParsePrefix("100.100.100.200/32"), "100.100.100.200"}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), "168.63.129.16"},     // Azure's WireServer
	{netip.MustParsePrefix("192.0.0.192/32"), "192.0.0.192"},         // Oracle Cloud
}

var names = []string{
	"metadata.google.internal",
	"metadata.goog",
	"metadata", // the same, by the search list of a Google machine
	"instance-data",
	"instance-data.ec2.internal",
	"metadata.tencentyun.com",
}

// echoes are domains of which anyone can have a name for any address: names
// below the first three spell it, the others lead to the machine itself.
var echoes = []string{"nip.io", "sslip.io", "xip.io", "localtest.me", "lvh.me"}

// A Target is what a host or an address leads to.
type Target struct {
	// Name is the metadata address, range or host name, or the domain of an
	// echo.
	Name string
	// Echo is set for names that stand for arbitrary or loopback addresses.
	Echo bool
	// Wide is set if the host or address covers more than what Name does, or
	// more than one name.
	Wide bool
}

// Find returns what a host name, wildcard, address or range leads to, if it is
// a metadata service or may be one: it is enough that some name or address that
// it covers does. Every spelling is understood, a port is ignored.
func Find(s string) (Target, bool) {
	s = host.TrimPort(s)
	if p, ok := cidr.Parse(s); ok {
		return findRange(p)
	}
	h := host.Normal(s)
	if p, ok := cidr.Parse(h); ok { // written in wide digits or with other dots
		return findRange(p)
	}
	for _, name := range names {
		if host.Overlaps(h, name) {
			return Target{Name: name, Wide: host.IsWildcard(h)}, true
		}
	}
	for _, domain := range echoes {
		if host.Below(domain, h) || host.IsWildcard(h) && host.Covers(h, domain) {
			return Target{Name: domain, Echo: true, Wide: !host.Below(domain, h)}, true
		}
	}
	return Target{}, false
}

func findRange(p netip.Prefix) (Target, bool) {
	if ip, ok := cidr.Translated(p); ok {
		p = ip
	}
	for i := range ranges {
		if cidr.Overlaps(ranges[i].prefix, p) {
			return Target{Name: ranges[i].name, Wide: !cidr.Contains(ranges[i].prefix, p)}, true
		}
	}
	return Target{}, false
}
