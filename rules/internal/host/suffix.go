// SPDX-License-Identifier: Apache-2.0

package host

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

//go:generate go test -run ^TestSuffixes$ -update .

// RegisteredDomain returns the domain that somebody has registered, of which
// the host is a part: the public suffix and one label ("eTLD+1"). It is empty
// for addresses, and for what is a public suffix or matches names in several
// registered domains.
func RegisteredDomain(h string) string {
	domain, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimPrefix(h, "*."))
	if err != nil || IsWildcard(domain) {
		return ""
	}
	return domain
}

// PublicSuffix returns a suffix of the Public Suffix List, ICANN or private, if
// the wildcard matches names below it that anyone may register: "github.io"
// for "*.github.io", "s3.amazonaws.com" for "*.amazonaws.com". It is "." if
// nothing of the names is fixed, as in "*com", and empty if the host is no such
// wildcard.
func PublicSuffix(h string) string {
	if !IsWildcard(h) {
		return ""
	}
	_, base, _ := strings.Cut(h, ".")
	if base == "" {
		return "."
	}
	if suffix, _ := publicsuffix.PublicSuffix(h); len(suffix) >= len(base) {
		// The list says "*.kawasaki.jp": then the suffix is longer than the base.
		return suffix[len(suffix)-len(base):]
	}
	i, ok := slices.BinarySearchFunc(suffixes, base, func(s suffixBelow, domain string) int {
		return cmp.Compare(s.domain, domain)
	})
	if !ok {
		return ""
	}
	return suffixes[i].suffix
}

// suffixBelow is a domain that is no public suffix but has some below it.
type suffixBelow struct {
	domain string
	suffix string // the shortest of them
}
