// SPDX-License-Identifier: Apache-2.0

// Package junit writes JUnit's XML, with the elements and attributes, in the order,
// that all its readers know.
package junit

import (
	"encoding/xml"
	"io"
)

// A Report is the root of a file. [Report.Write] counts.
type Report struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr"`
	counts
	Suites []*Suite `xml:"testsuite"`
}

// A Suite is a group of tests.
type Suite struct {
	Name string `xml:"name,attr"`
	counts
	Cases []Case `xml:"testcase"`
}

type counts struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
}

// A Case is a test. It has passed if it has neither an Error nor a Failure.
type Case struct {
	Name      string   `xml:"name,attr"`
	Class     string   `xml:"classname,attr"`
	Error     *Problem `xml:"error"`
	Failure   *Problem `xml:"failure"`
	SystemOut string   `xml:"system-out,omitempty"`
}

// A Problem is why a test has not passed.
type Problem struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// Write counts the cases and writes the report.
func (r *Report) Write(w io.Writer) error {
	r.counts = counts{}
	for _, s := range r.Suites {
		s.count()
		r.Tests += s.Tests
		r.Failures += s.Failures
		r.Errors += s.Errors
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *Suite) count() {
	s.counts = counts{Tests: len(s.Cases)}
	for _, c := range s.Cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Error != nil {
			s.Errors++
		}
	}
}
