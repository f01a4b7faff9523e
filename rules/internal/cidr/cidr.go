// SPDX-License-Identifier: Apache-2.0

// Package cidr reads IP addresses and ranges in every spelling that something
// between istiod, Envoy and a resolver takes for one, and compares ranges
// without regard to how an IPv4 address is wrapped.
package cidr

import (
	"net/netip"
	"strings"
)

// ParseAddr reads one address. Besides the usual forms it takes IPv4 as
// inet_aton(3) does (octal, hexadecimal, fewer than four numbers: "0x7f.1",
// "2130706433"), also with the trailing dot of a host name, and a zone. The
// result is in normal form: IPv4 even if it was written as IPv4-mapped IPv6,
// and without the zone.
func ParseAddr(s string) (netip.Addr, bool) {
	// netip makes an error of what is no address, which costs an allocation:
	// most of what comes here are host names.
	if strings.IndexByte(s, ':') >= 0 {
		a, err := netip.ParseAddr(s)
		return a.WithZone("").Unmap(), err == nil
	}
	return parseIPv4(strings.TrimSuffix(s, "."))
}

// Parse reads an address or a range in CIDR notation, spelled as [ParseAddr]
// takes it. The result is masked; a range of IPv4-mapped IPv6 addresses is a
// range of IPv4.
func Parse(s string) (netip.Prefix, bool) {
	addr, length, isRange := strings.Cut(s, "/")
	if strings.IndexByte(addr, '%') >= 0 {
		// A zone may hold anything, a slash too, and ranges have no zone.
		addr, isRange = s, false
	}
	a, ok := ParseAddr(addr)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if isRange {
		if bits, ok = parseLength(length); !ok {
			return netip.Prefix{}, false
		}
		if a.Is4() && strings.IndexByte(addr, ':') >= 0 {
			return mapped(a, bits)
		}
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

// mapped returns the range of the given length around an IPv4-mapped IPv6
// address, which is one of IPv4 only if it is at least as long as the wrapping.
func mapped(a netip.Addr, bits int) (netip.Prefix, bool) {
	if bits >= 96 {
		p, err := a.Prefix(bits - 96)
		return p, err == nil
	}
	p, err := netip.AddrFrom16(a.As16()).Prefix(bits)
	return p, err == nil
}

func parseLength(s string) (int, bool) {
	if s == "" || len(s) > 3 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// parseIPv4 reads IPv4 as inet_aton does: up to four numbers, of which the last
// fills the bytes that are left.
func parseIPv4(s string) (netip.Addr, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return netip.Addr{}, false
	}
	var value uint64
	for part := range 4 {
		digits, rest, more := strings.Cut(s, ".")
		n, ok := parseNumber(digits)
		if !more {
			left := 8 * (4 - part)
			if !ok || n >= 1<<left {
				return netip.Addr{}, false
			}
			value = value<<left | n
			return netip.AddrFrom4([4]byte{
				byte(value >> 24 & 0xff), byte(value >> 16 & 0xff), byte(value >> 8 & 0xff), byte(value & 0xff),
			}), true
		}
		if !ok || n > 255 {
			return netip.Addr{}, false
		}
		value = value<<8 | n
		s = rest
	}
	return netip.Addr{}, false
}

// parseNumber reads a C integer: decimal, octal after 0, hexadecimal after 0x.
func parseNumber(s string) (uint64, bool) {
	base := uint64(10)
	switch {
	case len(s) > 1 && (s[:2] == "0x" || s[:2] == "0X"):
		base, s = 16, s[2:]
		if s == "" {
			return 0, true
		}
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	if s == "" {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		d := digit(s[i])
		if d >= base {
			return 0, false
		}
		if n = n*base + d; n > 1<<32-1 {
			return 0, false
		}
	}
	return n, true
}

func digit(c byte) uint64 {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0')
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return uint64(c-'A') + 10
	default:
		return 255
	}
}

// NAT64 is the range of IPv6 that stands for all of IPv4, through a translator
// (RFC 6052).
var NAT64 = netip.MustParsePrefix("64:ff9b::/96")

// Translated returns the range of IPv4 to which a translator takes a range of
// [NAT64].
func Translated(p netip.Prefix) (netip.Prefix, bool) {
	if !Contains(NAT64, p) {
		return netip.Prefix{}, false
	}
	a := p.Addr().As16()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(a[12:])), p.Bits()-96), true
}

// Overlaps reports whether some address is in both ranges. IPv4 overlaps with
// ranges of IPv6 that hold its IPv4-mapped form.
func Overlaps(a, b netip.Prefix) bool {
	if !a.IsValid() || !b.IsValid() {
		return false
	}
	a, b = sameFamily(a, b)
	return a.Overlaps(b)
}

// Contains reports whether every address of inner is in outer. It compares
// families as [Overlaps] does.
func Contains(outer, inner netip.Prefix) bool {
	if !outer.IsValid() || !inner.IsValid() {
		return false
	}
	outer, inner = sameFamily(outer, inner)
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// In reports whether every address of p is in one of the ranges.
func In(ranges []netip.Prefix, p netip.Prefix) bool {
	for _, r := range ranges {
		if Contains(r, p) {
			return true
		}
	}
	return false
}

// sameFamily wraps IPv4 into IPv6 where only one of the two ranges is IPv4.
func sameFamily(a, b netip.Prefix) (netip.Prefix, netip.Prefix) {
	if a.Addr().Is4() == b.Addr().Is4() {
		return a, b
	}
	return wrap(a), wrap(b)
}

func wrap(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4() {
		return p
	}
	return netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96)
}
