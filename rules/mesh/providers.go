// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
)

// A tier is how an entry comes to be seen in a namespace. The first tier with an
// entry provides the host: istiod lists what is exported to a namespace by name
// before what is public, each by age, and takes the first, but one of the
// namespace itself before all others (istio.io/istio v1.31, pilot/pkg/model,
// push_context.go, servicesExportedToNamespace, and sidecar.go, selectServices).
type tier int

const (
	ownPrivate   tier = iota // of the namespace itself, exported there by name or "."
	ownPublic                // of the namespace itself, public
	othersNamed              // of others, exported to the namespace by name
	othersPublic             // of others, public
	tiers
)

// A scope is a tier and the namespace that sees it, which is empty for what all
// see.
type scope struct {
	tier      tier
	namespace string
}

// providers are the entries that declare one host. The zero value is none.
type providers struct {
	// declared counts the declarations, also those that nobody sees.
	declared int
	// lists are in order of age.
	lists map[scope][]*networkingv1.ServiceEntry
}

func (p *providers) add(se *networkingv1.ServiceEntry, scopes []scope) {
	p.declared++
	if p.lists == nil {
		p.lists = make(map[scope][]*networkingv1.ServiceEntry, len(scopes))
	}
	for _, s := range scopes {
		i, _ := slices.BinarySearchFunc(p.lists[s], se, byAge)
		p.lists[s] = slices.Insert(p.lists[s], i, se)
	}
}

// remove undoes one add.
func (p *providers) remove(se *networkingv1.ServiceEntry, scopes []scope) {
	p.declared--
	for _, s := range scopes {
		i, _ := slices.BinarySearchFunc(p.lists[s], se, byAge)
		if p.lists[s] = slices.Delete(p.lists[s], i, i+1); len(p.lists[s]) == 0 {
			delete(p.lists, s)
		}
	}
}

// best returns the entry that serves a namespace, or nil; p may be nil.
func (p *providers) best(namespace string) *networkingv1.ServiceEntry {
	if p == nil {
		return nil
	}
	for t := range tiers {
		s := scope{t, namespace}
		if t == othersPublic {
			s.namespace = ""
		}
		if list := p.lists[s]; len(list) > 0 {
			return list[0]
		}
	}
	return nil
}

// byAge orders entries as istiod does: the oldest first, then by namespace; then
// by name, so that the order is the same whatever came first here.
func byAge(a, b *networkingv1.ServiceEntry) int {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Name, b.Name),
	)
}
