// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

// Fixes returns what the mutators change in the documents, in the order in which
// these were added; those in which nothing changes are left out. The objects of
// the documents are changed. It fails if a mutator does, since all that follows
// would be judged by an object that is half done.
func (l *Linter) Fixes() ([]manifest.Edit, error) {
	l.setComplete()
	var edits []manifest.Edit
	for _, doc := range l.objects {
		injections, failure := analysis.Mutate(l.opts.Mutators, l.input(doc))
		if failure != nil {
			return nil, failure
		}
		ops, err := analysis.Patch(injections)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doc.File, err)
		}
		if len(ops) > 0 {
			edits = append(edits, manifest.Edit{Document: doc, Operations: ops})
		}
	}
	return edits, nil
}
