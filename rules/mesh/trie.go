// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
)

// A node is a domain in a trie over the labels of hosts, from the right: below
// the node of "com" is that of "example.com". The zero value is the root of an
// empty trie.
type node struct {
	children map[string]*node
	// exact provide the domain itself.
	exact *providers
	// wildcards provide what ends in a dot and the domain, by what comes between
	// that dot and the '*': "*.example.com" is "" and "*-api.example.com" is
	// "-api" at example.com.
	wildcards map[string]*providers
}

// change lets f change the providers of a host, a name or a wildcard in normal
// form, and keeps no node without any.
func (n *node) change(h string, f func(*providers)) {
	wildcard, ok := strings.CutPrefix(h, "*")
	if !ok {
		n.changeBelow(h, func(at *node) { at.exact = changed(at.exact, f) })
		return
	}
	partial, domain, _ := strings.Cut(wildcard, ".")
	n.changeBelow(domain, func(at *node) {
		if p := changed(at.wildcards[partial], f); p == nil {
			delete(at.wildcards, partial)
		} else {
			if at.wildcards == nil {
				at.wildcards = map[string]*providers{}
			}
			at.wildcards[partial] = p
		}
	})
}

func (n *node) changeBelow(domain string, f func(*node)) {
	if domain == "" {
		f(n)
		return
	}
	rest, label := cutLast(domain)
	child := n.children[label]
	if child == nil {
		child = new(node)
	}
	child.changeBelow(rest, f)
	if child.exact == nil && len(child.wildcards) == 0 && len(child.children) == 0 {
		delete(n.children, label)
		return
	}
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[label] = child
}

// changed returns the providers after f, or nil if there are none left.
func changed(p *providers, f func(*providers)) *providers {
	if p == nil {
		p = new(providers)
	}
	if f(p); p.declared == 0 {
		return nil
	}
	return p
}

// find returns who provides a name to a namespace: from below here up, so that
// the longest host wins.
func (n *node) find(h, namespace string) *networkingv1.ServiceEntry {
	if h == "" {
		return n.exact.best(namespace)
	}
	rest, label := cutLast(h)
	if child := n.children[label]; child != nil {
		if se := child.find(rest, namespace); se != nil {
			return se
		}
	}
	return n.findWildcard(label, namespace)
}

// maxLabel is the length of the longest label in DNS.
const maxLabel = 63

// findWildcard looks for wildcards that match a name with the given label before
// the node's domain: "evil-api" is matched by "*vil-api", "*-api" and "*".
func (n *node) findWildcard(label, namespace string) *networkingv1.ServiceEntry {
	if len(n.wildcards) == 0 {
		return nil
	}
	for i := max(0, len(label)-maxLabel); i <= len(label); i++ {
		if se := n.wildcards[label[i:]].best(namespace); se != nil {
			return se
		}
	}
	return nil
}

// cutLast cuts a name into its last label and what comes before.
func cutLast(h string) (rest, label string) {
	if dot := strings.LastIndexByte(h, '.'); dot >= 0 {
		return h[:dot], h[dot+1:]
	}
	return "", h
}
