// SPDX-License-Identifier: Apache-2.0

// Package analysistest runs rules and mutators over cases that stand beside
// them, in txtar archives of YAML.
//
// The archive of a rule is testdata/<subject>.txtar, with underscores for the
// dashes of the rule's name. Its sections:
//
//	allow/NAME.yaml   an object in which the rule denies nothing
//	deny/NAME.yaml    an object that the rule denies
//	offline/NAME.yaml the same, but one that no API server takes or keeps // optional
//	old/NAME.yaml     the object before the update of the same NAME // optional
//	mesh/NAME.yaml    other objects of the mesh, of all cases // optional
//	policy.yaml       EgressPolicies, EgressExemptions, Namespaces // optional
//	config.yaml       a Configuration // optional
//
// policy.yaml and config.yaml hold for all cases; NAME.policy.yaml and
// NAME.config.yaml in the folder of a case take their place for that case.
//
// A finding is expected where a comment says so, on the line of its field:
//
//	hosts: ["*.example.com"] # want `must not be a wildcard`
//
// See [suite.Expectation]. Every finding must be expected, and
// every expectation met; a field that does not exist is an error.
package analysistest

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/suite"
)

// Now is the time in all cases.
var Now = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// A Case is one object and what is expected of it.
type Case struct {
	// Rule is the name of the rule or mutator whose archive it stands in.
	Rule string
	// Name is the section's, such as "deny/wildcard.yaml".
	Name string
	// Deny is set for the cases under deny/ and offline/.
	Deny bool
	// Data is the object as written, with the comments.
	Data []byte
	// Document is the object.
	Document *manifest.Document
	// Old is the object before the update, or nil.
	Old analysis.Object
	// Config, Policy and Index are what the case is judged by. As in admission
	// the object itself is part of the mesh only if it was there before: as it
	// was, if it is updated, or as it is, if it has a creationTimestamp.
	Config *config.Configuration
	Policy *policy.Policy
	Index  *mesh.Index
	// Context are the objects under mesh/.
	Context []*manifest.Document
	// PolicyData and ConfigData are the sections as written, or nil.
	PolicyData, ConfigData []byte
}

// Input returns what the engine is given for the case.
func (c *Case) Input() analysis.Input {
	return analysis.Input{
		Object: c.Document.Object, Old: c.Old, Policy: c.Policy, Config: c.Config, Mesh: c.Index, Now: Now,
		Unknown: c.Document.Unknown,
	}
}

// String names the case in messages.
func (c *Case) String() string { return c.Rule + ": " + c.Name }

// Load returns the cases of an archive; folders are those whose sections are
// cases, such as "allow".
func Load(rule string, archive []byte, folders ...string) ([]*Case, error) {
	a := &sections{files: map[string][]byte{}}
	for _, f := range txtar.Parse(archive).Files {
		if _, ok := a.files[f.Name]; ok {
			return nil, fmt.Errorf("%s: section %s stands twice", rule, f.Name)
		}
		a.files[f.Name] = f.Data
		a.names = append(a.names, f.Name)
	}
	var cases []*Case
	for _, name := range a.names {
		folder, file := path.Split(name)
		folder = strings.TrimSuffix(folder, "/")
		switch {
		case strings.HasSuffix(name, ".policy.yaml") || strings.HasSuffix(name, ".config.yaml"):
		case slices.Contains(folders, folder):
			c, err := a.load(rule, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", rule, name, err)
			}
			cases = append(cases, c)
		case slices.Contains([]string{"mesh", "old", "out", offline}, folder) || file == "policy.yaml" || file == "config.yaml":
		default:
			return nil, fmt.Errorf("%s: %s is no section of such an archive", rule, name)
		}
	}
	return cases, nil
}

// offline is the folder of the cases that only files can have.
const offline = "offline"

func isOffline(name string) bool { return strings.HasPrefix(name, offline+"/") }

type sections struct {
	names []string
	files map[string][]byte
}

func (a *sections) load(rule, name string) (*Case, error) {
	c := &Case{Rule: rule, Name: name, Data: a.files[name]}
	c.Deny = strings.HasPrefix(name, "deny/") || isOffline(name)
	base := strings.TrimSuffix(name, ".yaml")
	c.PolicyData = a.first(base+".policy.yaml", "policy.yaml")
	c.ConfigData = a.first(base+".config.yaml", "config.yaml")
	var err error
	if c.Document, err = single(name, c.Data); err != nil {
		return nil, err
	}
	if c.Config, err = parseConfig(c.ConfigData); err != nil {
		return nil, err
	}
	if c.Policy, err = parsePolicy(c.PolicyData, c.Document.Object.GetNamespace()); err != nil {
		return nil, err
	}
	if old, ok := a.files["old/"+path.Base(name)]; ok {
		doc, err := single("old", old)
		if err != nil {
			return nil, err
		}
		c.Old = doc.Object
	}
	return c, a.fillMesh(c)
}

func (a *sections) first(names ...string) []byte {
	for _, name := range names {
		if data, ok := a.files[name]; ok {
			return data
		}
	}
	return nil
}

// single reads the one object of a section.
func single(name string, data []byte) (*manifest.Document, error) {
	docs, err := readAll(name, data)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("has %d objects, want 1", len(docs))
	}
	return docs[0], nil
}

func readAll(name string, data []byte) ([]*manifest.Document, error) {
	var docs []*manifest.Document
	for doc, err := range manifest.Documents(name, bytes.NewReader(data)) {
		switch {
		case err != nil:
			return nil, err
		case doc.Object == nil:
			return nil, fmt.Errorf("%s: %s is no kind that rules know", name, doc.GVK)
		case len(doc.Problems) > 0:
			return nil, doc.Problems[0]
		case len(doc.Unknown) > 0 && !isOffline(name):
			return nil, fmt.Errorf("%s: %s", name, doc.Unknown[0])
		case doc.Object.GetNamespace() == "" && !doc.Kind.ClusterScoped:
			return nil, fmt.Errorf("%s: the object has no namespace", name)
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func parseConfig(data []byte) (*config.Configuration, error) {
	if data == nil {
		return config.Default(), nil
	}
	c, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("config.yaml: %w", err)
	}
	return c, nil
}

func parsePolicy(data []byte, namespace string) (*policy.Policy, error) {
	if data == nil {
		return policy.Default(), nil
	}
	var docs policy.Documents
	if err := docs.Parse("policy.yaml", data); err != nil {
		return nil, err
	}
	policyFor, err := docs.Compile()
	if err != nil {
		return nil, fmt.Errorf("policy.yaml: %w", err)
	}
	return policyFor(namespace), nil
}

// fillMesh indexes the other objects and the case's own. They are the whole
// mesh, so that what is not there does not exist.
func (a *sections) fillMesh(c *Case) error {
	c.Index = mesh.New(c.Config)
	for _, name := range a.names {
		if !strings.HasPrefix(name, "mesh/") {
			continue
		}
		docs, err := readAll(name, a.files[name])
		if err != nil {
			return err
		}
		c.Context = append(c.Context, docs...)
		for _, doc := range docs {
			c.Index.Set(doc.Object)
		}
	}
	if created := c.Document.Object.GetCreationTimestamp(); c.Old != nil {
		c.Index.Set(c.Old)
	} else if !created.IsZero() {
		c.Index.Set(c.Document.Object)
	}
	c.Index.SetComplete(analysis.Kinds()...)
	return nil
}

// Expectations returns the expectations in the case's comments.
func (c *Case) Expectations() ([]suite.Expectation, error) {
	expected, err := suite.ParseExpectations(c.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return expected, nil
}

// Compare returns what is wrong with the findings: those that are not expected,
// and expectations that are not met.
func (c *Case) Compare(findings []analysis.Finding) []error {
	expected, err := c.Expectations()
	if err != nil {
		return []error{err}
	}
	var problems []error
	denied := false
	for i := range findings {
		f := &findings[i]
		denied = denied || f.Verdict.Action == policy.Deny
		at, ok := c.Document.Position(f.Field)
		if !ok {
			problems = append(problems, fmt.Errorf("%s: %s leads nowhere", c, f.Field))
			continue
		}
		var met bool
		expected, met = suite.Meet(expected, f, at.Line)
		if !met {
			problems = append(problems, fmt.Errorf("%s:%d: unexpected finding (%s): %w", c, at.Line, f.Verdict.Action, f.Error))
		}
	}
	for _, e := range expected {
		problems = append(problems, fmt.Errorf("%s:%d: no finding (%s) matches `%s`", c, e.Line, e.Action, e.Pattern))
	}
	if denied != c.Deny {
		problems = append(problems, fmt.Errorf("%s: denied is %t", c, denied))
	}
	return problems
}
