// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// addresses are claims of ranges of addresses. IPv4 is mapped into IPv6.
type addresses struct {
	claims *claims
	// lengths counts the claims by the length of their prefix, so that ranges
	// around an address are looked for only in lengths that there are.
	lengths [129]int
}

func newAddresses() *addresses { return &addresses{claims: newClaims()} }

// set adds the claims of an object, or removes them.
func (a *addresses) set(obj analysis.Object, seen visibility.Scope, prefixes []netip.Prefix, present bool) {
	keys := make([]string, len(prefixes))
	for i, p := range prefixes {
		keys[i] = addressKey(p)
		if present {
			a.lengths[mappedBits(p)]++
		} else {
			a.lengths[mappedBits(p)]--
		}
	}
	a.claims.set(obj, seen, keys, present)
}

// collect finds the claims to ranges that overlap with p.
func (a *addresses) collect(q *question, p netip.Prefix) {
	p = mapped(p)
	for bits, n := range a.lengths[:p.Bits()] {
		if n > 0 {
			q.at(addressKey(netip.PrefixFrom(p.Addr(), bits).Masked()))
		}
	}
	first := addressKey(p)
	q.from(first, func(key string) bool {
		address, ok := netip.AddrFromSlice([]byte(key[:16]))
		return ok && p.Contains(address)
	})
}

// addressKey puts a range before all that is in it.
func addressKey(p netip.Prefix) string {
	p = mapped(p)
	address := p.Addr().As16()
	return string(append(address[:], byte(p.Bits()))) //nolint:gosec // at most 128
}

func mappedBits(p netip.Prefix) int { return mapped(p).Bits() }

func mapped(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4() {
		return p
	}
	return netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96)
}
