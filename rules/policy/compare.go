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

func compareAllowed(a, b AllowedHost) int {
	return cmp.Or(
		cmp.Compare(a.Host, b.Host),
		slices.Compare(a.Ports, b.Ports),
		compareBool(a.Direct, b.Direct),
		compareBool(a.Exclusive, b.Exclusive),
	)
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
