// SPDX-License-Identifier: Apache-2.0

// Package lint judges documents as admission would judge them: the engine's
// front end for files. It does no I/O; it is given documents and makes reports.
package lint

import (
	"cmp"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Options say how to judge.
type Options struct {
	Suite *analysis.Suite
	// Mutators are applied before rules, as admission does; none judges the
	// text as it is written. // optional
	Mutators []*analysis.Mutator
	// Config holds the facts about the mesh.
	Config *config.Configuration
	// PolicyFor gives the effective policy of a namespace.
	PolicyFor func(namespace string) *policy.Policy
	// Namespace is that of documents that name none.
	Namespace string
	// Complete says that the documents are the whole mesh, so that what is
	// not among them does not exist.
	Complete bool
	// Judged is called after each object, if it is not nil.
	Judged func() // optional
	// Now decides what has begun and what has expired.
	Now time.Time
}

// A Linter collects documents. It is not safe for concurrent use.
type Linter struct {
	opts    Options
	index   *mesh.Index
	objects []*manifest.Document // all that were added
	checked []*manifest.Document // those that rules are about
	olds    map[*manifest.Document]analysis.Object
	files   map[string]bool
	skipped int
}

// New returns a linter without documents.
func New(opts Options) *Linter {
	return &Linter{opts: opts, index: mesh.New(opts.Config), olds: map[*manifest.Document]analysis.Object{}, files: map[string]bool{}}
}

// AddContext adds a document that is part of the mesh, but not judged itself.
func (l *Linter) AddContext(doc *manifest.Document) {
	if doc.Object != nil {
		l.complete(doc)
		l.index.Set(doc.Object)
	}
}

// Add adds a document that is judged, and is part of the mesh too. It keeps it, without
// its Raw, which nothing needs any more.
func (l *Linter) Add(doc *manifest.Document) {
	doc.Raw = nil
	l.files[doc.File] = true
	l.AddContext(doc)
	if doc.Object != nil {
		l.objects = append(l.objects, doc)
	}
	if doc.Object == nil || !l.opts.Suite.Checks(doc.Kind) {
		l.skipped++
		return
	}
	l.checked = append(l.checked, doc)
}

// AddUpdate adds a document that is judged as an update of an object: until then the
// mesh has the old one.
func (l *Linter) AddUpdate(old, doc *manifest.Document) {
	l.Add(doc)
	l.AddContext(old)
	l.olds[doc] = old.Object
}

func (l *Linter) complete(doc *manifest.Document) {
	if doc.Object.GetNamespace() == "" && !doc.Kind.ClusterScoped {
		doc.Object.SetNamespace(l.opts.Namespace)
	}
}

// Len returns how many objects are judged.
func (l *Linter) Len() int { return len(l.checked) }

// A Report is what was found in the documents.
type Report struct {
	// Findings are in the order of files, lines, columns and rules.
	Findings []Finding
	// NotEvaluated is in the order of the documents.
	NotEvaluated []NotEvaluated
	// Files, Objects and Skipped count what was read: files with documents,
	// objects that were judged, and documents of kinds that no rule is about.
	Files, Objects, Skipped int
	// Documents are those of the objects that were judged, as they were added.
	Documents []*manifest.Document
	// Unreadable is what kept the caller from reading some input; formats name it.
	Unreadable []error
	// Panics are failures of rules or mutators: the report is incomplete.
	Panics []*analysis.PanicError

	compared bool // with a baseline
}

// A Finding is one with its place.
type Finding struct {
	analysis.Finding
	manifest.Position
	Document *manifest.Document
	// Baselined says that a baseline has it; see [Report.Accept].
	Baselined bool
}

// action is what follows from the finding: from one that is in a baseline nothing.
func (f *Finding) action() policy.Action {
	if f.Baselined {
		return policy.Audit
	}
	return f.Verdict.Action
}

// NotEvaluated is what could not be told, with its document.
type NotEvaluated struct {
	analysis.NotEvaluated
	Document *manifest.Document
}

// Report judges all documents.
func (l *Linter) Report() *Report {
	l.setComplete()
	r := &Report{Files: len(l.files), Objects: len(l.checked), Skipped: l.skipped, Documents: l.checked}
	failed := map[*manifest.Document]bool{}
	for m := range l.mutate() {
		if m.failure != nil {
			failed[m.doc] = true
			r.Panics = append(r.Panics, m.failure)
		}
	}
	for i, doc := range l.checked {
		if !failed[doc] {
			l.judge(doc, r)
		}
		if l.opts.Judged != nil {
			l.opts.Judged()
		}
		if i+1 == len(l.checked) || !doc.SharesText(l.checked[i+1]) {
			doc.Forget()
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Document.File, b.Document.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r
}

func (l *Linter) setComplete() {
	if l.opts.Complete {
		l.index.SetComplete(analysis.Kinds()...)
	}
}

func (l *Linter) input(doc *manifest.Document) analysis.Input {
	return analysis.Input{
		Object: doc.Object, Old: l.olds[doc], Config: l.opts.Config, Mesh: l.index, Now: l.opts.Now,
		Policy: l.opts.PolicyFor(doc.Object.GetNamespace()), Unknown: doc.Unknown,
	}
}

func (l *Linter) judge(doc *manifest.Document, r *Report) {
	res := analysis.Check(l.opts.Suite, l.input(doc))
	r.Panics = append(r.Panics, res.Panics...)
	for _, f := range res.Findings {
		at, ok := doc.Position(f.Field)
		if !ok { // the field is one that a mutator has made
			at, _ = doc.Position("spec")
		}
		r.Findings = append(r.Findings, Finding{Finding: f, Position: at, Document: doc})
	}
	for _, n := range res.NotEvaluated {
		r.NotEvaluated = append(r.NotEvaluated, NotEvaluated{NotEvaluated: n, Document: doc})
	}
}

// Count returns how many findings lead to the action. Exempted ones are not
// counted among the audited, and those of a baseline nowhere.
func (r *Report) Count(action policy.Action) int {
	n := 0
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Verdict.Action == action && f.Verdict.Exemption == "" && !f.Baselined {
			n++
		}
	}
	return n
}

// Exempted returns how many findings an exemption covers.
func (r *Report) Exempted() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Verdict.Exemption != "" {
			n++
		}
	}
	return n
}

// Baselined returns how many findings a baseline has.
func (r *Report) Baselined() int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Baselined {
			n++
		}
	}
	return n
}
