// SPDX-License-Identifier: Apache-2.0

// Package host compares host names and wildcards as Istio does
// (istio.io/istio v1.31, pkg/config/host/name.go): whatever starts with '*' is
// a wildcard, and matches every name that ends in the rest.
//
// Except for [Normal] and [Expand], functions take hosts in normal form.
package host

import (
	"strings"

	"golang.org/x/net/idna"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

// Normal returns the normal form of a host: lower case, without one trailing
// dot, and in the ASCII form of an internationalized name. A port is not
// removed, since Istio does not either.
func Normal(h string) string {
	h = strings.ToLower(h)
	if !isASCII(h) && len(h) <= maxMapped {
		// Other dots than '.' become one here, wide letters become narrow.
		if ascii, err := profile.ToASCII(h); err == nil {
			h = ascii
		}
	}
	return strings.TrimSuffix(h, ".")
}

// maxMapped bounds the time that mapping takes, which is more than linear. Names
// that DNS could have are shorter.
const maxMapped = 1024

// profile maps as browsers do, but takes '*' and '_'.
var profile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// TrimPort returns the host without a port number after a colon, and an IPv6
// address without its brackets.
func TrimPort(h string) string {
	if inside, _, ok := strings.Cut(h, "]"); ok && strings.HasPrefix(inside, "[") {
		return inside[1:]
	}
	if name, _, ok := strings.Cut(h, ":"); ok && strings.Count(h, ":") == 1 {
		return name
	}
	return h
}

// IsWildcard reports whether the host is a wildcard: '*' and whatever follows.
func IsWildcard(h string) bool { return strings.HasPrefix(h, "*") }

// IsPartial reports whether the host is a wildcard that begins inside a label,
// such as "*foo.com", which matches "evilfoo.com".
func IsPartial(h string) bool { return IsWildcard(h) && !strings.HasPrefix(h, "*.") }

// Covers reports whether every name that narrow matches, or is, is one that
// wide matches, or is: "*.foo.com" covers "a.b.foo.com" and "*.b.foo.com", but
// not "foo.com".
func Covers(wide, narrow string) bool {
	if !IsWildcard(wide) {
		return wide == narrow
	}
	return strings.HasSuffix(strings.TrimPrefix(narrow, "*"), wide[1:])
}

// Overlaps reports whether some name is matched by both hosts, or is both.
func Overlaps(a, b string) bool { return Covers(a, b) || Covers(b, a) }

// Approves reports whether a policy that allows one host approves another:
// an allowed name approves itself, an allowed wildcard itself and the names and
// wildcards below it. What is partial or no host name is never approved.
func Approves(allowed, h string) bool {
	return !IsPartial(allowed) && Covers(allowed, h) && wellFormed(strings.TrimPrefix(h, "*."))
}

// wellFormed reports whether a name consists of labels that DNS could have.
func wellFormed(name string) bool {
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0 && len(name) <= 253
}

// Labels counts the labels of a host, those after "*." if it is a wildcard.
func Labels(h string) int {
	h = strings.TrimPrefix(strings.TrimPrefix(h, "*"), ".")
	if h == "" {
		return 0
	}
	return strings.Count(h, ".") + 1
}

// Below reports whether a name is the domain or below it, or whether all that
// a wildcard matches is.
func Below(domain, h string) bool {
	rest, ok := strings.CutSuffix(h, domain)
	return ok && domain != "" && (rest == "" || strings.HasSuffix(rest, "."))
}

// Internal reports whether a host is inside the mesh: a short name, or below
// the cluster domain, "svc" or one of the mesh's internal suffixes. A wildcard
// is internal if all that it matches is. An address is never internal, however
// it is written.
//
// "<service>.<namespace>" is internal if isNamespace says that there is such a
// namespace. Where isNamespace is nil, since namespaces are not known, no such
// name is internal.
func Internal(h string, mesh *config.Mesh, isNamespace func(string) bool) bool {
	for _, suffix := range mesh.InternalSuffixes {
		if Below(suffix, h) {
			return true
		}
	}
	if Below(mesh.ClusterDomain, h) || Below("svc", h) {
		return h != mesh.ClusterDomain
	}
	if IsWildcard(h) {
		return false
	}
	service, namespace, ok := strings.Cut(h, ".")
	if !ok {
		_, isAddr := cidr.ParseAddr(h)
		return !isAddr && h != ""
	}
	return isNamespace != nil && service != "" && !strings.Contains(namespace, ".") && isNamespace(namespace)
}

// Expand returns the full name of a host in a VirtualService or
// DestinationRule, in normal form. Like istiod it completes only what has no
// dot at all: "reviews" is a Service of the namespace, "reviews.prod" and
// "reviews." are what they are.
func Expand(h, namespace, clusterDomain string) string {
	name := Normal(h)
	if name == "" || name == "*" || strings.ContainsAny(h, ".:") {
		return name
	}
	return name + "." + namespace + ".svc." + clusterDomain
}
