// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A node is a domain in a trie over the labels of hosts, from the right: below
// the node of "com" is that of "example.com". The zero value is the root of an
// empty trie.
type node[T analysis.Object] struct {
	children map[string]*node[T]
	// exact have the domain itself.
	exact *ranking[T]
	// wildcards have what ends in a dot and the domain, by what comes between
	// that dot and the '*': "*.example.com" is "" and "*-api.example.com" is
	// "-api" at example.com.
	wildcards map[string]*ranking[T]
}

// change lets f change the ranking for a host, a name or a wildcard in normal
// form, and keeps no node without any.
func (n *node[T]) change(h string, f func(*ranking[T])) {
	wildcard, ok := strings.CutPrefix(h, "*")
	if !ok {
		n.changeBelow(h, func(at *node[T]) { at.exact = changed(at.exact, f) })
		return
	}
	partial, domain, _ := strings.Cut(wildcard, ".")
	n.changeBelow(domain, func(at *node[T]) {
		if r := changed(at.wildcards[partial], f); r == nil {
			delete(at.wildcards, partial)
		} else {
			if at.wildcards == nil {
				at.wildcards = map[string]*ranking[T]{}
			}
			at.wildcards[partial] = r
		}
	})
}

func (n *node[T]) changeBelow(domain string, f func(*node[T])) {
	if domain == "" {
		f(n)
		return
	}
	rest, label := cutLast(domain)
	child := n.children[label]
	if child == nil {
		child = new(node[T])
	}
	child.changeBelow(rest, f)
	if child.empty() {
		delete(n.children, label)
		return
	}
	if n.children == nil {
		n.children = map[string]*node[T]{}
	}
	n.children[label] = child
}

func (n *node[T]) empty() bool {
	return n.exact == nil && len(n.wildcards) == 0 && len(n.children) == 0
}

// changed returns the ranking after f, or nil if there is nothing left in it.
func changed[T analysis.Object](r *ranking[T], f func(*ranking[T])) *ranking[T] {
	if r == nil {
		r = new(ranking[T])
	}
	if f(r); r.size == 0 {
		return nil
	}
	return r
}

// find returns the object that a namespace uses for a name: from below here up,
// so that the longest host wins.
func (n *node[T]) find(h, namespace string) (T, bool) {
	if h == "" {
		return n.exact.best(namespace)
	}
	rest, label := cutLast(h)
	if child := n.children[label]; child != nil {
		if obj, ok := child.find(rest, namespace); ok {
			return obj, true
		}
	}
	return n.findWildcard(label, namespace)
}

// maxLabel is the length of the longest label in DNS.
const maxLabel = 63

// findWildcard looks for wildcards that match a name with the given label before
// the node's domain: "evil-api" is matched by "*vil-api", "*-api" and "*".
func (n *node[T]) findWildcard(label, namespace string) (none T, ok bool) {
	if len(n.wildcards) == 0 {
		return none, false
	}
	for i := max(0, len(label)-maxLabel); i <= len(label); i++ {
		if obj, ok := n.wildcards[label[i:]].best(namespace); ok {
			return obj, true
		}
	}
	return none, false
}

// cutLast cuts a name into its last label and what comes before.
func cutLast(h string) (rest, label string) {
	if dot := strings.LastIndexByte(h, '.'); dot >= 0 {
		return h[:dot], h[dot+1:]
	}
	return "", h
}
