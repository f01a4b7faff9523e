// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// An Expectation is a comment that says that a finding is due on its line:
//
//	hosts: ["*.example.com"] # want `must not be a wildcard`
//
// The regular expression is searched for in the finding as [field.Error] prints it, and
// in the rule's name. "want" stands for a finding that
// denies, "warn" for one that warns and "audit" for one that is only recorded, as an
// exempted one is.
type Expectation struct {
	// Line counts from 1, in the text that was given to [ParseExpectations].
	Line    int
	Action  policy.Action
	Pattern *regexp.Regexp
}

var (
	expectation = regexp.MustCompile("\\b(want|warn|audit) (?:`([^`]*)`|\"([^\"]*)\")")
	actions     = map[string]policy.Action{"want": policy.Deny, "warn": policy.Warn, "audit": policy.Audit}
	words       = map[policy.Action]string{policy.Deny: "want", policy.Warn: "warn", policy.Audit: "audit"}
)

// ParseExpectations returns the expectations in the comments of YAML. A line can have
// several.
func ParseExpectations(text []byte) ([]Expectation, error) {
	var all []Expectation
	n := 0
	for line := range bytes.Lines(text) {
		n++
		_, comment, ok := bytes.Cut(line, []byte("# "))
		if !ok {
			continue
		}
		for _, m := range expectation.FindAllSubmatch(comment, -1) {
			pattern, err := regexp.Compile(string(m[2]) + string(m[3]))
			if err != nil {
				return nil, &lineError{line: n, err: err}
			}
			all = append(all, Expectation{Line: n, Action: actions[string(m[1])], Pattern: pattern})
		}
	}
	return all, nil
}

var clock = regexp.MustCompile(`(?m)^# at (\S+)\s*$`)

// parseClock returns the time that a line "# at TIME" sets for a case, if there is one.
func parseClock(text []byte) (at time.Time, ok bool, err error) {
	m := clock.FindSubmatchIndex(text)
	if m == nil {
		return at, false, nil
	}
	at, err = time.Parse(time.RFC3339, string(text[m[2]:m[3]]))
	if err != nil {
		return at, false, &lineError{
			line: 1 + bytes.Count(text[:m[2]], []byte("\n")),
			err:  fmt.Errorf("# at %s: want a time such as 2027-01-01T00:00:00Z", text[m[2]:m[3]]),
		}
	}
	return at, true, nil
}

// IsMetBy reports whether the finding, which is on the given line, is the one.
func (e *Expectation) IsMetBy(f *analysis.Finding, line int) bool {
	return e.Line == line && e.Action == f.Verdict.Action &&
		(e.Pattern.MatchString(f.Error.Error()) || e.Pattern.MatchString(f.Rule.Name))
}

// String returns the comment.
func (e *Expectation) String() string { return words[e.Action] + " `" + e.Pattern.String() + "`" }

// Meet returns the expectations without the first that is met by the finding, and
// whether there is one.
func Meet(expected []Expectation, f *analysis.Finding, line int) ([]Expectation, bool) {
	for i := range expected {
		if expected[i].IsMetBy(f, line) {
			return append(expected[:i:i], expected[i+1:]...), true
		}
	}
	return expected, false
}

// A lineError is a fault on a line of a section.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }
