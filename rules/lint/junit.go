// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/junit"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// WriteJUnit writes the report as JUnit's XML: a test suite of each file and a
// test of each object. A test fails of findings that are denied, and of warnings
// too if failOn is Warn; what else was found, or could not be told, is its output.
func (r *Report) WriteJUnit(w io.Writer, failOn policy.Action) error {
	report := junit.Report{Name: "sallyport", Suites: r.junitSuites(failOn)}
	return report.Write(w)
}

func (r *Report) junitSuites(failOn policy.Action) []*junit.Suite {
	findings := map[*manifest.Document][]*Finding{}
	for i := range r.Findings {
		f := &r.Findings[i]
		findings[f.Document] = append(findings[f.Document], f)
	}
	unknown := map[*manifest.Document][]string{}
	for _, n := range r.NotEvaluated {
		unknown[n.Document] = append(unknown[n.Document], "not evaluated: "+n.Reason+" ("+n.Rule.Name+")")
	}
	var suites []*junit.Suite
	byFile := map[string]*junit.Suite{}
	for _, doc := range r.Documents {
		if byFile[doc.File] == nil {
			byFile[doc.File] = &junit.Suite{Name: doc.File}
			suites = append(suites, byFile[doc.File])
		}
		suite := byFile[doc.File]
		suite.Cases = append(suite.Cases, newJUnitCase(doc, findings[doc], unknown[doc], failOn))
	}
	if faults := r.faultyInputs(); len(faults) > 0 {
		suites = append(suites, faultSuite(faults))
	}
	if len(r.Panics) > 0 {
		suites = append(suites, panicSuite(r.Panics))
	}
	return suites
}

func newJUnitCase(doc *manifest.Document, findings []*Finding, unknown []string, failOn policy.Action) junit.Case {
	c := junit.Case{Name: objectName(doc), Class: doc.File}
	var failures []*Finding
	var failed, said []string
	for _, f := range findings {
		text := fmt.Sprintf("%s:%d:%d: %s: %s%s (%s)", doc.File, f.Line, f.Column,
			strings.ToLower(string(f.Verdict.Action)), f.message(), f.remark(), f.Rule.Name)
		if f.action() == policy.Deny || f.action() == policy.Warn && failOn == policy.Warn {
			failures, failed = append(failures, f), append(failed, text)
		} else {
			said = append(said, text)
		}
	}
	if len(failures) > 0 {
		c.Failure = &junit.Problem{Message: failures[0].message(), Type: failures[0].Rule.Name, Text: strings.Join(failed, "\n")}
		if more := len(failures) - 1; more > 0 {
			c.Failure.Message += fmt.Sprintf(" (and %d more)", more)
		}
	}
	c.SystemOut = strings.Join(append(said, unknown...), "\n")
	return c
}

// faultSuite has the errors of input that could not be read.
func faultSuite(faults []faultyInput) *junit.Suite {
	suite := &junit.Suite{Name: "input"}
	for _, f := range faults {
		name := f.file
		if f.line > 0 {
			name = fmt.Sprintf("%s:%d:%d", f.file, f.line, f.column)
		}
		suite.Cases = append(suite.Cases, junit.Case{
			Name: cmp.Or(name, f.message), Class: suite.Name, Error: &junit.Problem{Message: f.message, Type: "unreadable"},
		})
	}
	return suite
}

// panicSuite has the failures of rules and mutators, which belong to no file.
func panicSuite(panics []*analysis.PanicError) *junit.Suite {
	suite := &junit.Suite{Name: "sallyport"}
	for _, p := range panics {
		suite.Cases = append(suite.Cases, junit.Case{
			Name: p.Name, Class: suite.Name,
			Error: &junit.Problem{Message: p.Error(), Type: "panic", Text: string(p.Stack)},
		})
	}
	return suite
}
