// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"net/netip"
	"slices"
)

func sortedUnique[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

// joinAllowed puts approvals in order and joins those of one host that differ in
// their ports alone.
func joinAllowed(hosts []AllowedHost) []AllowedHost {
	slices.SortFunc(hosts, compareAllowed)
	joined := hosts[:0]
	for _, h := range hosts {
		if n := len(joined); n > 0 && compareAllowed(joined[n-1], h) == 0 {
			joined[n-1].Ports = joinPorts(joined[n-1].Ports, h.Ports)
			continue
		}
		h.Ports = sortedUnique(slices.Clone(h.Ports))
		joined = append(joined, h)
	}
	return joined
}

// joinPorts returns the ports of both lists, of which an empty one is all ports.
func joinPorts(a, b []uint32) []uint32 {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	return sortedUnique(slices.Concat(a, b))
}

func compareAllowed(a, b AllowedHost) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), compareBool(a.Direct, b.Direct), compareBool(a.Exclusive, b.Exclusive))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
