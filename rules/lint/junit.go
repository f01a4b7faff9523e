// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// The elements, with the attributes and in the order that all readers of JUnit's
// XML know.
type (
	junitCounts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	junitReport struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []*junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Cases []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Class     string        `xml:"classname,attr"`
		Error     *junitProblem `xml:"error"`
		Failure   *junitProblem `xml:"failure"`
		SystemOut string        `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML: a test suite of each file and a
// test of each object. A test fails of findings that are denied, and of warnings
// too if failOn is Warn; what else was found, or could not be told, is its output.
func (r *Report) WriteJUnit(w io.Writer, failOn policy.Action) error {
	report := junitReport{Name: "sallyport", Suites: r.junitSuites(failOn)}
	for _, s := range report.Suites {
		s.count()
		report.Tests += s.Tests
		report.Failures += s.Failures
		report.Errors += s.Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r *Report) junitSuites(failOn policy.Action) []*junitSuite {
	findings := map[*manifest.Document][]*Finding{}
	for i := range r.Findings {
		f := &r.Findings[i]
		findings[f.Document] = append(findings[f.Document], f)
	}
	unknown := map[*manifest.Document][]string{}
	for _, n := range r.NotEvaluated {
		unknown[n.Document] = append(unknown[n.Document], "not evaluated: "+n.Reason+" ("+n.Rule.Name+")")
	}
	var suites []*junitSuite
	byFile := map[string]*junitSuite{}
	for _, doc := range r.Documents {
		if byFile[doc.File] == nil {
			byFile[doc.File] = &junitSuite{Name: doc.File}
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

func newJUnitCase(doc *manifest.Document, findings []*Finding, unknown []string, failOn policy.Action) junitCase {
	c := junitCase{Name: objectName(doc), Class: doc.File}
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
		c.Failure = &junitProblem{Message: failures[0].message(), Type: failures[0].Rule.Name, Text: strings.Join(failed, "\n")}
		if more := len(failures) - 1; more > 0 {
			c.Failure.Message += fmt.Sprintf(" (and %d more)", more)
		}
	}
	c.SystemOut = strings.Join(append(said, unknown...), "\n")
	return c
}

// faultSuite has the errors of input that could not be read.
func faultSuite(faults []faultyInput) *junitSuite {
	suite := &junitSuite{Name: "input"}
	for _, f := range faults {
		name := f.file
		if f.line > 0 {
			name = fmt.Sprintf("%s:%d:%d", f.file, f.line, f.column)
		}
		suite.Cases = append(suite.Cases, junitCase{
			Name: cmp.Or(name, f.message), Class: suite.Name, Error: &junitProblem{Message: f.message, Type: "unreadable"},
		})
	}
	return suite
}

// panicSuite has the failures of rules and mutators, which belong to no file.
func panicSuite(panics []*analysis.PanicError) *junitSuite {
	suite := &junitSuite{Name: "sallyport"}
	for _, p := range panics {
		suite.Cases = append(suite.Cases, junitCase{
			Name: p.Name, Class: suite.Name,
			Error: &junitProblem{Message: p.Error(), Type: "panic", Text: string(p.Stack)},
		})
	}
	return suite
}

func (s *junitSuite) count() {
	for _, c := range s.Cases {
		s.Tests++
		if c.Failure != nil {
			s.Failures++
		}
		if c.Error != nil {
			s.Errors++
		}
	}
}
