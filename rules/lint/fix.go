// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"iter"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

// Fixes returns what the mutators change in the documents, in the order in which
// these were added; those in which nothing changes are left out. The objects of
// the documents are changed. It fails if a mutator does, since all that follows
// would be judged by an object that is half done.
func (l *Linter) Fixes() ([]manifest.Edit, error) {
	l.setComplete()
	operations := map[*manifest.Document][]analysis.Operation{}
	for m := range l.mutate() {
		if m.failure != nil {
			return nil, m.failure
		}
		ops, err := analysis.Patch(m.injections)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.doc.File, err)
		}
		operations[m.doc] = ops
	}
	var edits []manifest.Edit
	for _, doc := range l.objects {
		if ops := operations[doc]; len(ops) > 0 {
			edits = append(edits, manifest.Edit{Document: doc, Operations: ops})
		}
	}
	return edits, nil
}

// A mutation is what mutators did to a document.
type mutation struct {
	doc        *manifest.Document
	injections []analysis.Injection
	failure    *analysis.PanicError
}

// mutate applies the mutators to all documents, and puts the results into the mesh.
// VirtualServices come last, since they are led by what the others say, wherever
// these stand.
func (l *Linter) mutate() iter.Seq[mutation] {
	return func(yield func(mutation) bool) {
		for _, last := range []bool{false, true} {
			for _, doc := range l.objects {
				if (doc.Kind == analysis.VirtualService) != last {
					continue
				}
				injections, failure := analysis.Mutate(l.opts.Mutators, l.input(doc))
				if failure == nil && len(injections) > 0 && l.olds[doc] == nil {
					l.index.Set(doc.Object)
				}
				if !yield(mutation{doc, injections, failure}) {
					return
				}
			}
		}
	}
}
