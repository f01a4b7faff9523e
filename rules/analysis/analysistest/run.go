// SPDX-License-Identifier: Apache-2.0

package analysistest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// Run runs each rule over the cases in its archive in the calling package's
// testdata, and that rule alone. Rules and archives must match one to one.
func Run(t *testing.T, rules []*analysis.Rule) {
	t.Helper()
	archives, err := Archives(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	report(t, unmatched(names, archives))
	for _, r := range rules {
		t.Run(r.Name, func(t *testing.T) {
			if archive, ok := archives[subject(r.Name)]; ok {
				report(t, checkRule(r, archive))
			}
		})
	}
}

// RunAll runs all rules together over the allow cases of archives, so that one
// rule's good example is not another's bad one. What only warns is not counted.
func RunAll(t *testing.T, rules []*analysis.Rule, archives map[string][]byte) {
	t.Helper()
	suite, err := analysis.NewSuite(rules...)
	if err != nil {
		t.Fatal(err)
	}
	for name, archive := range archives {
		cases, err := Load(name, archive, "allow", "deny")
		if err != nil {
			t.Error(err)
			continue
		}
		for _, c := range cases {
			res := analysis.Check(suite, c.Input())
			if !c.Deny && res.Denied() {
				t.Errorf("%s: denied by another rule: %v", c, res.Findings)
			}
		}
	}
}

func report(t *testing.T, problems []error) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// Archives returns the archives in the folder testdata of fsys, by the subject
// of the rule that they belong to.
func Archives(fsys fs.FS) (map[string][]byte, error) {
	files, err := fs.Glob(fsys, "testdata/*.txtar")
	if err != nil {
		return nil, err
	}
	archives := map[string][]byte{}
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(path.Base(file), ".txtar")
		archives[strings.ReplaceAll(base, "_", "-")] = data
	}
	return archives, nil
}

func subject(rule string) string { return path.Base(rule) }

func unmatched(names []string, archives map[string][]byte) []error {
	var problems []error
	subjects := map[string]bool{}
	for _, name := range names {
		subjects[subject(name)] = true
		if archives[subject(name)] == nil {
			problems = append(problems, fmt.Errorf("%s has no cases: testdata/%s.txtar is missing", name, strings.ReplaceAll(subject(name), "-", "_")))
		}
	}
	for s := range archives {
		if !subjects[s] {
			problems = append(problems, fmt.Errorf("testdata/%s.txtar: there is nothing of that name", strings.ReplaceAll(s, "-", "_")))
		}
	}
	return problems
}

// checkRule returns what is wrong with a rule or with its cases.
func checkRule(r *analysis.Rule, archive []byte) []error {
	cases, err := Load(r.Name, archive, "allow", "deny", offline)
	if err != nil {
		return []error{err}
	}
	suite, err := analysis.NewSuite(r)
	if err != nil {
		return []error{err}
	}
	var problems []error
	var allows, denies int
	read := map[*analysis.Kind]bool{}
	for _, c := range cases {
		if c.Deny {
			denies++
		} else {
			allows++
		}
		in := c.Input()
		in.Mesh = &recorder{mesh: in.Mesh, read: read}
		res := analysis.Check(suite, in)
		for _, p := range res.Panics {
			problems = append(problems, fmt.Errorf("%s: %w\n%s", c, p, p.Stack))
		}
		problems = append(problems, c.Compare(res.Findings)...)
	}
	if allows == 0 {
		problems = append(problems, fmt.Errorf("%s has no allow case", r.Name))
	}
	if denies == 0 && r.Severity == analysis.Error {
		problems = append(problems, fmt.Errorf("%s has no deny case", r.Name))
	}
	return append(problems, compareReads(r.Name, r.Reads, read)...)
}

// compareReads compares the kinds that a rule declares with those that it
// looked up in its cases.
func compareReads(name string, declared []*analysis.Kind, read map[*analysis.Kind]bool) []error {
	var problems []error
	for _, k := range analysis.Kinds() {
		switch declares := slices.Contains(declared, k); {
		case declares && !read[k]:
			problems = append(problems, fmt.Errorf("%s declares that it reads %s, but does so in no case", name, k.Kind))
		case !declares && read[k]:
			problems = append(problems, fmt.Errorf("%s reads %s, but does not declare it", name, k.Kind))
		}
	}
	return problems
}

var errNoCases = errors.New("has no cases")
