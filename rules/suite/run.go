// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"fmt"
	"path"
	"slices"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Options say what all suites are judged by.
type Options struct {
	// Lint is how the objects of a case are judged. Its Config is what holds where a
	// suite has none; its PolicyFor and Complete are not used.
	Lint lint.Options
	// Policies are in force beside those of the suites.
	Policies *policy.Documents
	// Context are objects of the mesh beside those of the suites.
	Context []*manifest.Document
	// Match chooses cases by "SUITE/CASE", such as "tests/shop.txtar/deny/wildcard".
	Match func(name string) bool // optional
}

// A Result is what came of a suite.
type Result struct {
	Suite *Suite
	Cases []CaseResult
}

// A CaseResult is what came of a case: it has passed if there is none of Problems.
type CaseResult struct {
	// Name is that of its file without the suffix, such as "deny/wildcard".
	Name     string
	Problems []*Error
	// Report is what was found in the objects. Its lines are those of File.
	Report *lint.Report
	File   *File
}

// Run runs the cases of a suite. The error is an [Error] with its place, if something
// in the suite cannot be read.
func (s *Suite) Run(opts *Options) (*Result, error) {
	b, err := s.bench(opts)
	if err != nil {
		return nil, err
	}
	result := &Result{Suite: s}
	for i := range s.files {
		f := &s.files[i]
		if !IsCase(f.Name) || opts.Match != nil && !opts.Match(s.Name+"/"+stem(f.Name)) {
			continue
		}
		c, err := b.run(f)
		if err != nil {
			return nil, err
		}
		result.Cases = append(result.Cases, *c)
	}
	return result, nil
}

// A bench is what all cases of a suite are judged by.
type bench struct {
	suite     *Suite
	opts      *Options
	policyFor func(namespace string) *policy.Policy
	config    *config.Configuration
	mesh      []*manifest.Document
}

func (s *Suite) bench(opts *Options) (*bench, error) {
	b := &bench{suite: s, opts: opts, config: opts.Lint.Config, mesh: slices.Clone(opts.Context)}
	policies := s.in("policies")
	if f := s.find("policy"); f != nil {
		policies = append(policies, f)
	}
	var err error
	if b.policyFor, err = b.compile(policies); err != nil {
		return nil, err
	}
	if f := s.find("config"); f != nil {
		if b.config, err = parseConfig(f); err != nil {
			return nil, err
		}
	}
	for _, f := range s.in("mesh") {
		docs, err := f.documents()
		if err != nil {
			return nil, err
		}
		b.mesh = append(b.mesh, docs...)
	}
	return b, nil
}

// compile returns the effective policies of files and of what is in force everywhere.
func (b *bench) compile(files []*File) (func(namespace string) *policy.Policy, error) {
	var all policy.Documents
	if p := b.opts.Policies; p != nil {
		all = policy.Documents{
			Policies: slices.Clone(p.Policies), Exemptions: slices.Clone(p.Exemptions), Namespaces: slices.Clone(p.Namespaces),
		}
	}
	for _, f := range files {
		if err := all.Parse(f.Name, f.Data); err != nil {
			return nil, f.errorf(0, "%v", err)
		}
	}
	policyFor, err := all.Compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.suite.Name, err)
	}
	return policyFor, nil
}

func parseConfig(f *File) (*config.Configuration, error) {
	c, err := config.Parse(f.Data)
	if err != nil {
		return nil, f.errorf(0, "%s: %v", f.Name, err)
	}
	return c, nil
}

// documents reads the objects of a file.
func (f *File) documents() ([]*manifest.Document, error) {
	var docs []*manifest.Document
	for doc, err := range manifest.Documents(f.Name, bytes.NewReader(f.Data)) {
		if err == nil && len(doc.Problems) > 0 {
			err = doc.Problems[0]
		}
		if err != nil {
			return nil, f.locate(err)
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// lintOptions are those for a case: policies and configuration of its own take the
// place of the suite's.
func (b *bench) lintOptions(f *File) (lint.Options, error) {
	opts := b.opts.Lint
	opts.Complete, opts.PolicyFor, opts.Config = true, b.policyFor, b.config
	at, ok, err := parseClock(f.Data)
	if err != nil {
		return opts, f.locate(err)
	}
	if ok {
		opts.Now = at
	}
	if own := b.suite.find(stem(f.Name) + policySuffix); own != nil {
		if opts.PolicyFor, err = b.compile([]*File{own}); err != nil {
			return opts, err
		}
	}
	if own := b.suite.find(stem(f.Name) + configSuffix); own != nil {
		opts.Config, err = parseConfig(own)
	}
	return opts, err
}

func (b *bench) run(f *File) (*CaseResult, error) {
	opts, err := b.lintOptions(f)
	if err != nil {
		return nil, err
	}
	docs, err := f.documents()
	if err != nil {
		return nil, err
	}
	expected, err := ParseExpectations(f.Data)
	if err != nil {
		return nil, f.locate(err)
	}
	linter := lint.New(opts)
	for _, doc := range b.mesh {
		linter.AddContext(doc)
	}
	if err := b.add(linter, f, docs); err != nil {
		return nil, err
	}
	c := &CaseResult{Name: stem(f.Name), File: f}
	if linter.Len() == 0 {
		c.Problems = append(c.Problems, f.errorf(0, "there is no object that rules are about"))
	}
	c.Report = linter.Report()
	c.compare(expected)
	return c, b.compareStored(c, docs)
}

// add gives the objects of a case to the linter, those with an older state as updates.
func (b *bench) add(linter *lint.Linter, f *File, docs []*manifest.Document) error {
	var olds []*manifest.Document
	file := b.suite.find("old/" + path.Base(stem(f.Name)))
	if file != nil {
		var err error
		if olds, err = file.documents(); err != nil {
			return err
		}
	}
	for _, doc := range docs {
		if i := slices.IndexFunc(olds, func(old *manifest.Document) bool { return sameObject(old, doc) }); i >= 0 {
			linter.AddUpdate(olds[i], doc)
			olds = slices.Delete(olds, i, i+1)
		} else {
			linter.Add(doc)
		}
	}
	if len(olds) > 0 {
		return file.errorf(0, "%s: %s is not updated in %s", file.Name, objectName(olds[0]), f.Name)
	}
	return nil
}

func sameObject(a, b *manifest.Document) bool {
	return a.Kind == b.Kind && a.Object != nil && b.Object != nil &&
		a.Object.GetNamespace() == b.Object.GetNamespace() && a.Object.GetName() == b.Object.GetName()
}

func objectName(doc *manifest.Document) string {
	if doc.Object == nil {
		return doc.GVK.Kind
	}
	return doc.GVK.Kind + " " + doc.Object.GetNamespace() + "/" + doc.Object.GetName()
}
