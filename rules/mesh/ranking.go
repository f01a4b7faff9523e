// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// A tier is how an object comes to be seen in a namespace. The first tier with
// an object wins a host, and in it the oldest object.
type tier int

const (
	ownPrivate   tier = iota // of the namespace itself, exported there by name or "."
	ownPublic                // of the namespace itself, public
	othersNamed              // of others, exported to the namespace by name
	othersPublic             // of others, public
	tiers
)

// A place is a tier in the view of a namespace, which is empty for what all see
// alike.
type place struct {
	tier      tier
	namespace string
}

// serviceEntryPlaces ranks ServiceEntries: istiod lists what is exported to a
// namespace by name before what is public, each by age, and takes the first, but
// one of the namespace itself before all others (istio.io/istio v1.31,
// pilot/pkg/model, push_context.go, servicesExportedToNamespace, and sidecar.go,
// selectServices).
func serviceEntryPlaces(own string, seen visibility.Scope) []place {
	if seen.Public {
		return []place{{ownPublic, own}, {othersPublic, ""}}
	}
	return namedPlaces(own, seen)
}

// virtualServicePlaces ranks VirtualServices: those of the namespace alone, those
// exported to it by name, the public ones (istio.io/istio v1.31,
// pilot/pkg/model/push_context.go, virtualServicesForGateway).
func virtualServicePlaces(own string, seen visibility.Scope) []place {
	if seen.Public {
		return []place{{othersPublic, ""}}
	}
	return namedPlaces(own, seen)
}

// destinationRulePlaces ranks the DestinationRules of one namespace: it applies
// all of its own, others apply what it exports to them.
func destinationRulePlaces(own string, seen visibility.Scope) []place {
	places := []place{{ownPrivate, own}}
	if seen.Public {
		return append(places, place{othersPublic, ""})
	}
	return append(places, slices.DeleteFunc(namedPlaces(own, seen), func(p place) bool { return p.tier == ownPrivate })...)
}

func namedPlaces(own string, seen visibility.Scope) []place {
	places := make([]place, 0, len(seen.Namespaces))
	for _, n := range seen.Namespaces {
		if n == own {
			places = append(places, place{ownPrivate, n})
		} else {
			places = append(places, place{othersNamed, n})
		}
	}
	return places
}

// A ranking holds the objects with one host. The zero value is empty.
type ranking[T analysis.Object] struct {
	// size counts the objects, also those that nobody sees.
	size int
	// lists are in order of age.
	lists map[place][]T
}

func (r *ranking[T]) add(obj T, places []place) {
	r.size++
	if r.lists == nil {
		r.lists = make(map[place][]T, len(places))
	}
	for _, p := range places {
		i, _ := slices.BinarySearchFunc(r.lists[p], obj, byAge)
		r.lists[p] = slices.Insert(r.lists[p], i, obj)
	}
}

// remove undoes one add.
func (r *ranking[T]) remove(obj T, places []place) {
	r.size--
	for _, p := range places {
		i, _ := slices.BinarySearchFunc(r.lists[p], obj, byAge)
		if r.lists[p] = slices.Delete(r.lists[p], i, i+1); len(r.lists[p]) == 0 {
			delete(r.lists, p)
		}
	}
}

// rank adds an object to the rankings of its hosts, or removes it.
func rank[T analysis.Object](root *node[T], obj T, hosts []string, places []place, present bool) {
	for _, h := range hosts {
		root.change(h, func(r *ranking[T]) {
			if present {
				r.add(obj, places)
			} else {
				r.remove(obj, places)
			}
		})
	}
}

// best returns the object that a namespace uses; r may be nil.
func (r *ranking[T]) best(namespace string) (none T, ok bool) {
	if r == nil {
		return none, false
	}
	for t := range tiers {
		p := place{t, namespace}
		if t == othersPublic {
			p.namespace = ""
		}
		if list := r.lists[p]; len(list) > 0 {
			return list[0], true
		}
	}
	return none, false
}

// byAge orders objects as istiod does: the oldest first, then by namespace; then
// by name, so that the order is the same whatever came first here. Objects from
// files, which have no age, come last.
func byAge[T metav1.Object](a, b T) int {
	return cmp.Or(
		compareAges(a.GetCreationTimestamp(), b.GetCreationTimestamp()),
		strings.Compare(a.GetNamespace(), b.GetNamespace()),
		strings.Compare(a.GetName(), b.GetName()),
	)
}

func compareAges(a, b metav1.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	default:
		return a.Compare(b.Time)
	}
}
