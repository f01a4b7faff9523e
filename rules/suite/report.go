// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/junit"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A Report is what came of suites, in their order.
type Report struct {
	Results []*Result
	// Unreadable is what kept suites from being run.
	Unreadable []error
}

// Counts are the numbers of cases.
type Counts struct {
	Suites     int `json:"suites"`
	Cases      int `json:"cases"`
	Passed     int `json:"passed"`
	Failed     int `json:"failed"`
	Unreadable int `json:"unreadable"`
}

// Count counts the cases.
func (r *Report) Count() Counts {
	n := Counts{Unreadable: len(r.Unreadable)}
	for _, result := range r.Results {
		if len(result.Cases) > 0 {
			n.Suites++
		}
		n.Cases += len(result.Cases)
		n.Failed += result.failed()
	}
	n.Passed = n.Cases - n.Failed
	return n
}

// Panics are failures of rules or mutators.
func (r *Report) Panics() []*analysis.PanicError {
	var panics []*analysis.PanicError
	for _, result := range r.Results {
		for i := range result.Cases {
			panics = append(panics, result.Cases[i].Report.Panics...)
		}
	}
	return panics
}

func (r *Result) failed() int {
	n := 0
	for i := range r.Cases {
		if len(r.Cases[i].Problems) > 0 {
			n++
		}
	}
	return n
}

// WriteText writes the report for people: a line for each suite, and what is wrong
// with cases that failed. If it is verbose it shows every case, with what was found.
func (r *Report) WriteText(w io.Writer, verbose bool) error {
	out := bufio.NewWriter(w)
	for _, result := range r.Results {
		result.writeText(out, verbose)
	}
	n := r.Count()
	fmt.Fprintf(out, "suites: %d, cases: %d, passed: %d, failed: %d", n.Suites, n.Cases, n.Passed, n.Failed)
	if n.Unreadable > 0 {
		fmt.Fprintf(out, ", not readable: %d", n.Unreadable)
	}
	fmt.Fprintln(out)
	return out.Flush()
}

func (r *Result) writeText(w io.Writer, verbose bool) {
	if len(r.Cases) == 0 {
		return
	}
	word := "ok  "
	if r.failed() > 0 {
		word = "FAIL"
	}
	fmt.Fprintf(w, "%s  %s: %d of %d passed\n", word, r.Suite.Name, len(r.Cases)-r.failed(), len(r.Cases))
	for i := range r.Cases {
		c := &r.Cases[i]
		switch {
		case len(c.Problems) > 0:
			fmt.Fprintf(w, "  FAIL  %s\n", c.Name)
		case verbose:
			fmt.Fprintf(w, "  ok    %s\n", c.Name)
		}
		for _, p := range c.Problems {
			fmt.Fprintf(w, "    %s\n", strings.ReplaceAll(p.Error(), "\n", "\n      "))
		}
		if verbose {
			c.writeFound(w)
		}
	}
}

// writeFound writes all that was found in the objects of a case.
func (c *CaseResult) writeFound(w io.Writer) {
	for i := range c.Report.Findings {
		f := &c.Report.Findings[i]
		action := strings.ToLower(string(f.Verdict.Action))
		if f.Verdict.Action == policy.Audit && f.Verdict.Exemption != "" {
			action = "exempted by " + f.Verdict.Exemption
		}
		p := c.File.errorf(f.Line, "%s: %s: %s (%s)", action, f.Field, f.Detail, f.Rule.Name)
		p.Column = f.Column
		fmt.Fprintf(w, "    %s\n", p)
	}
	for _, n := range c.Report.NotEvaluated {
		fmt.Fprintf(w, "    %s\n", c.File.errorf(0, "not evaluated: %s (%s)", n.Reason, n.Rule.Name))
	}
}

// WriteJUnit writes the report as JUnit's XML.
func (r *Report) WriteJUnit(w io.Writer) error {
	report := junit.Report{Name: "sallyport test"}
	for _, result := range r.Results {
		s := &junit.Suite{Name: result.Suite.Name}
		for i := range result.Cases {
			s.Cases = append(s.Cases, junitCase(s.Name, &result.Cases[i]))
		}
		if len(s.Cases) > 0 {
			report.Suites = append(report.Suites, s)
		}
	}
	if len(r.Unreadable) > 0 {
		s := &junit.Suite{Name: "input"}
		for _, err := range r.Unreadable {
			p := problemOf(err)
			s.Cases = append(s.Cases, junit.Case{Name: p.File, Class: s.Name, Error: &junit.Problem{Message: err.Error(), Type: "unreadable"}})
		}
		report.Suites = append(report.Suites, s)
	}
	return report.Write(w)
}

func junitCase(suite string, c *CaseResult) junit.Case {
	out := junit.Case{Name: c.Name, Class: suite}
	if len(c.Problems) == 0 {
		return out
	}
	var all []string
	for _, p := range c.Problems {
		all = append(all, p.Error())
	}
	first, _, _ := strings.Cut(c.Problems[0].Message, "\n")
	out.Failure = &junit.Problem{Message: first, Text: strings.Join(all, "\n")}
	return out
}

// problemOf returns an error as a problem; its File is empty if none is known.
func problemOf(err error) *Error {
	if p, ok := errors.AsType[*Error](err); ok {
		return p
	}
	return &Error{Message: err.Error()}
}

// TestResult is a report in the format of "-o json". Fields are added to it, never
// renamed or removed.
type TestResult struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Suites     []ResultSuite   `json:"suites"`
	Unreadable []ResultProblem `json:"unreadable,omitempty"`
	Summary    Counts          `json:"summary"`
}

// ResultSuite is a suite in a [TestResult].
type ResultSuite struct {
	Name  string       `json:"name"`
	Cases []ResultCase `json:"cases"`
}

// ResultCase is a case in a [TestResult].
type ResultCase struct {
	Name     string          `json:"name"`
	Passed   bool            `json:"passed"`
	Problems []ResultProblem `json:"problems"`
}

// ResultProblem is a [Error] in a [TestResult].
type ResultProblem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// WriteJSON writes the report as a [TestResult].
func (r *Report) WriteJSON(w io.Writer) error {
	out := TestResult{APIVersion: "cli.sallyport.dev/v1alpha1", Kind: "TestResult", Suites: []ResultSuite{}, Summary: r.Count()}
	for _, result := range r.Results {
		s := ResultSuite{Name: result.Suite.Name, Cases: []ResultCase{}}
		for i := range result.Cases {
			c := &result.Cases[i]
			s.Cases = append(s.Cases, ResultCase{Name: c.Name, Passed: len(c.Problems) == 0, Problems: resultProblems(c.Problems)})
		}
		if len(s.Cases) > 0 {
			out.Suites = append(out.Suites, s)
		}
	}
	for _, err := range r.Unreadable {
		out.Unreadable = append(out.Unreadable, ResultProblem(*problemOf(err)))
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func resultProblems(problems []*Error) []ResultProblem {
	out := []ResultProblem{}
	for _, p := range problems {
		out = append(out, ResultProblem(*p))
	}
	return out
}
