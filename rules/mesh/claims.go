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

// claims are objects in the order of what they claim: a host, a port or a range
// of addresses, encoded as a string such that everything below a wildcard or in
// a range is adjacent. The same claim stands in several views, so that no
// question meets claims that its namespaces do not see.
type claims struct {
	tree *btree.BTreeG[claim]
}

// Views other than that of a namespace.
const (
	viewAll    = ""  // everything that anybody sees
	viewPublic = "*" // what everybody sees
)

type claim struct {
	view, key string
	object    analysis.Object
}

// degree of the tree; between 16 and 64 it makes no difference.
const degree = 32

func newClaims() *claims {
	return &claims{btree.NewG(degree, func(a, b claim) bool {
		return cmp.Or(strings.Compare(a.view, b.view), strings.Compare(a.key, b.key), compareClaimants(a.object, b.object)) < 0
	})}
}

// compareClaimants orders by age. The nil object comes before all.
func compareClaimants(a, b analysis.Object) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	default:
		return byAge(a, b)
	}
}

func viewsOf(seen visibility.Scope) []string {
	switch {
	case seen.Public:
		return []string{viewAll, viewPublic}
	case len(seen.Namespaces) == 0:
		return nil
	default:
		return append([]string{viewAll}, seen.Namespaces...)
	}
}

// set adds the claims of an object, or removes them.
func (c *claims) set(obj analysis.Object, seen visibility.Scope, keys []string, present bool) {
	for _, view := range viewsOf(seen) {
		for _, key := range keys {
			if present {
				c.tree.ReplaceOrInsert(claim{view, key, obj})
			} else {
				c.tree.Delete(claim{view, key, obj})
			}
		}
	}
}

// maxVisits bounds the claims that one question meets without an answer: those
// of the object itself and younger ones.
const maxVisits = 256

// A question asks for the objects with claims that obj might break.
type question struct {
	claims *claims
	obj    analysis.Object
	views  []string
	// isNew is set if all others are older: the object is not in the mesh yet.
	isNew bool
	// anyAge is set if younger objects count too.
	anyAge bool

	found  []claim
	visits int
	cut    bool
}

func (c *claims) ask(obj analysis.Object, seen visibility.Scope, isNew bool) *question {
	q := &question{claims: c, obj: obj, isNew: isNew}
	switch {
	case seen.Public:
		q.views = []string{viewAll}
	case len(seen.Namespaces) > 0:
		q.views = append([]string{viewPublic}, seen.Namespaces...)
	}
	return q
}

// about collects the claims from a key on, as long as their keys are within.
func (q *question) about(from string, within func(key string) bool) {
	for _, view := range q.views {
		found := 0
		q.claims.tree.AscendGreaterOrEqual(claim{view: view, key: from}, func(c claim) bool {
			if c.view != view || !within(c.key) {
				return false
			}
			if q.visits++; q.visits > maxVisits || found > analysis.MaxClaims {
				q.cut = true
				return false
			}
			if !sameObject(c.object, q.obj) && (q.anyAge || q.isOlder(c.object)) {
				q.found = append(q.found, c)
				found++
			}
			return true
		})
	}
}

// keep drops what was found but is not wanted.
func (q *question) keep(wanted func(claim) bool) {
	q.found = slices.DeleteFunc(q.found, func(c claim) bool { return !wanted(c) })
}

func sameObject(a, b analysis.Object) bool {
	return a.GetNamespace() == b.GetNamespace() && a.GetName() == b.GetName() && analysis.KindOf(a) == analysis.KindOf(b)
}

// isOlder reports whether obj was there before the object that the question is
// about.
func (q *question) isOlder(obj analysis.Object) bool {
	return q.isNew || byAge(obj, q.obj) < 0
}

// answer returns the objects found, each once.
func (q *question) answer() (objects []analysis.Object, complete bool) {
	slices.SortFunc(q.found, func(a, b claim) int {
		return cmp.Or(strings.Compare(a.key, b.key), byAge(a.object, b.object))
	})
	for _, c := range q.found {
		if slices.ContainsFunc(objects, func(o analysis.Object) bool { return sameObject(o, c.object) }) {
			continue
		}
		if len(objects) == analysis.MaxClaims {
			return objects, false
		}
		objects = append(objects, c.object)
	}
	return objects, !q.cut
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
