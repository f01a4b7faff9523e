// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/btree"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// claims are objects by what they claim: a host, a port or a range of addresses,
// encoded as a string such that everything below a wildcard or in a range is
// adjacent in order. The same claim stands in several views, so that no question
// meets claims that its namespaces do not see.
type claims struct {
	lists map[slot][]analysis.Object // by age
	order *btree.BTreeG[slot]
}

// A slot is a claim in a view.
type slot struct{ view, key string }

// Views other than that of a namespace.
const (
	viewAll    = ""  // everything that anybody sees
	viewPublic = "*" // what everybody sees
)

// degree of the tree; between 16 and 64 it makes no difference.
const degree = 32

func newClaims() *claims {
	return &claims{
		lists: map[slot][]analysis.Object{},
		order: btree.NewG(degree, func(a, b slot) bool {
			return cmp.Or(strings.Compare(a.view, b.view), strings.Compare(a.key, b.key)) < 0
		}),
	}
}

// set adds the claims of an object, or removes them.
func (c *claims) set(obj analysis.Object, seen visibility.Scope, keys []string, present bool) {
	if seen.Empty() {
		return
	}
	views := append([]string{viewAll}, seen.Namespaces...)
	if seen.Public {
		views = append(views, viewPublic)
	}
	for _, view := range views {
		for _, key := range keys {
			c.change(slot{view, key}, obj, present)
		}
	}
}

func (c *claims) change(s slot, obj analysis.Object, present bool) {
	list := c.lists[s]
	i, found := slices.BinarySearchFunc(list, obj, byAge)
	switch {
	case found == present:
		return
	case present && len(list) == 0:
		c.order.ReplaceOrInsert(s)
		c.lists[s] = []analysis.Object{obj}
	case present:
		c.lists[s] = slices.Insert(list, i, obj)
	case len(list) == 1:
		c.order.Delete(s)
		delete(c.lists, s)
	default:
		c.lists[s] = slices.Delete(list, i, i+1)
	}
}

// maxVisits bounds the claims that one question meets without an answer: those of the
// object itself, younger ones, and those of its own namespace, of which a tenant may
// have many, lest they hide the ones of others.
const maxVisits = 2048

// A question asks for the objects with claims that obj might break.
type question struct {
	claims *claims
	obj    analysis.Object
	seen   visibility.Scope
	// isNew is set if all others are older: the object does not make the claim
	// yet.
	isNew bool
	// anyAge is set if younger objects count too.
	anyAge bool

	found []found
	// own and others are how many were found of the object's namespace and of others.
	own, others int
	visits      int
	cut         bool
}

type found struct {
	key    string
	object analysis.Object
}

// views calls f with the views in which there is what some namespace sees that
// sees the object too.
func (q *question) views(f func(view string)) {
	if q.seen.Public {
		f(viewAll)
		return
	}
	if !q.seen.Empty() {
		f(viewPublic)
	}
	for _, namespace := range q.seen.Namespaces {
		f(namespace)
	}
}

// at collects the claims to a key.
func (q *question) at(key string) {
	q.views(func(view string) { q.take(key, q.claims.lists[slot{view, key}]) })
}

// from collects the claims from a key on, as long as their keys are within.
func (q *question) from(key string, within func(key string) bool) {
	q.views(func(view string) {
		enough := q.others + analysis.MaxClaims
		q.claims.order.AscendGreaterOrEqual(slot{view, key}, func(s slot) bool {
			return s.view == view && within(s.key) && q.take(s.key, q.claims.lists[s]) && q.others <= enough
		})
	})
}

// take collects those of a list that count, and reports whether there is room for
// more visits.
func (q *question) take(key string, list []analysis.Object) bool {
	enough := q.others + analysis.MaxClaims
	for _, o := range list {
		if !q.anyAge && !q.isOlder(o) || q.others > enough {
			return q.visit() // those behind are younger still
		}
		if !q.visit() {
			return false
		}
		if !sameObject(o, q.obj) {
			q.add(found{key, o})
		}
	}
	return true
}

// add keeps what was found, but no more of the own namespace than there is room for.
func (q *question) add(f found) {
	if f.object.GetNamespace() != q.obj.GetNamespace() {
		q.others++
	} else if q.own++; q.own > analysis.MaxClaims {
		return
	}
	q.found = append(q.found, f)
}

func (q *question) visit() bool {
	q.visits++
	q.cut = q.cut || q.visits > maxVisits
	return !q.cut
}

// keep drops what was found but is not wanted.
func (q *question) keep(wanted func(found) bool) {
	q.found = slices.DeleteFunc(q.found, func(f found) bool { return !wanted(f) })
}

func sameObject(a, b analysis.Object) bool {
	return a.GetNamespace() == b.GetNamespace() && a.GetName() == b.GetName() && analysis.KindOf(a) == analysis.KindOf(b)
}

// isOlder reports whether obj was there before the object that the question is
// about.
func (q *question) isOlder(obj analysis.Object) bool {
	return q.isNew || byAge(obj, q.obj) < 0
}

// answer returns the objects found, each once, those of other namespaces above all.
func (q *question) answer() (objects []analysis.Object, complete bool) {
	if len(q.found) > 1 {
		slices.SortFunc(q.found, func(a, b found) int {
			return cmp.Or(strings.Compare(a.key, b.key), byAge(a.object, b.object))
		})
	}
	complete = !q.cut
	counts := map[bool]int{}
	for _, f := range q.found {
		if slices.ContainsFunc(objects, func(o analysis.Object) bool { return sameObject(o, f.object) }) {
			continue
		}
		own := f.object.GetNamespace() == q.obj.GetNamespace()
		if counts[own] == analysis.MaxClaims {
			complete = complete && own // there are enough to know whose it is
			continue
		}
		counts[own]++
		objects = append(objects, f.object)
	}
	return objects, complete
}

// hostKey turns a host around, label by label: what is below a domain begins
// with the domain's key and a dot.
func hostKey(h string) string {
	var b strings.Builder
	b.Grow(len(h))
	for rest, label := cutLast(h); ; rest, label = cutLast(rest) {
		b.WriteString(label)
		if rest == "" {
			return b.String()
		}
		b.WriteByte('.')
	}
}

func hostKeys(hosts []string) []string {
	keys := make([]string, len(hosts))
	for i, h := range hosts {
		keys[i] = hostKey(h)
	}
	return keys
}
