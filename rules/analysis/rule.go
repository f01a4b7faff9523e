// SPDX-License-Identifier: Apache-2.0

// Package analysis is what the author of a rule or of a mutator imports, and
// the engine that runs them.
//
// A [Rule] is a value with a name, a text and a function that looks at one
// object and reports findings. It is pure: what it may know is in its [Pass].
// [Check] runs a [Suite] of rules over one object; the webhook, the audit and
// the command line all call it and so give the same verdict.
package analysis

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// A Rule describes one check.
type Rule struct {
	// Name identifies the rule in policies, metrics and messages: its
	// package, a slash and what it is about, such as
	// "serviceentry/wildcard-host". It never changes and is never reused.
	Name string
	// Doc is a title line, an empty line and text in plain prose.
	Doc string
	// Severity is what the rule thinks of its findings. What a finding leads
	// to is the policy's decision.
	Severity Severity
	// Reads lists the kinds of other objects that the rule looks up in the
	// mesh. // optional
	Reads []*Kind
	// Run is made by [On]; for several kinds, by slices.Concat of them.
	Run Run
}

// Title returns the first line of the rule's Doc.
func (r *Rule) Title() string {
	title, _, _ := strings.Cut(r.Doc, "\n")
	return title
}

// Kinds returns the kinds of objects that the rule checks.
func (r *Rule) Kinds() []*Kind {
	var kinds []*Kind
	for _, k := range Kinds() {
		if slices.ContainsFunc(r.Run, func(c check) bool { return c.typ == k.typ }) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// Run is the code of a rule, by type of object.
type Run []check

type check struct {
	typ reflect.Type
	run func(*Pass, Object)
}

// On returns a Run that applies check to objects of type T.
func On[T Object](run func(*Pass, T)) Run {
	return Run{{
		typ: reflect.TypeFor[T](),
		run: func(pass *Pass, obj Object) { run(pass, obj.(T)) },
	}}
}

// A Severity is how grave a rule holds its findings to be.
type Severity int

// The severities. The zero value is not valid.
const (
	// Off findings are dropped unless a policy gives the rule an action.
	Off Severity = iota + 1
	// Warning findings warn unless a policy says otherwise.
	Warning
	// Error findings deny unless a policy says otherwise.
	Error
)

// String returns the name of the severity as it stands in output.
func (s Severity) String() string {
	switch s {
	case Off:
		return "Off"
	case Warning:
		return "Warning"
	case Error:
		return "Error"
	default:
		return fmt.Sprintf("Severity(%d)", int(s))
	}
}

// A Finding is one thing that a rule reports about an object. Path, type, value
// and text are those of the embedded error, whose Origin is the rule's name.
type Finding struct {
	*field.Error
	Rule     *Rule
	Object   Object
	Severity Severity
	// Verdict is what the policy makes of the finding.
	Verdict Verdict
}

var ruleName = regexp.MustCompile(`^[a-z]+/[a-z]+(-[a-z]+)*$`)

// Validate reports what is wrong with a list of rules: names that are malformed
// or not unique, missing texts, severities and code, kinds that nobody knows.
func Validate(rules []*Rule) error {
	seen := map[string]bool{}
	for _, r := range rules {
		title, text, _ := strings.Cut(r.Doc, "\n\n")
		switch {
		case !ruleName.MatchString(r.Name):
			return fmt.Errorf("rule %q: name is not of the form package/subject", r.Name)
		case seen[r.Name]:
			return fmt.Errorf("rule %s: name is not unique", r.Name)
		case title == "" || strings.Contains(title, "\n") || strings.HasSuffix(title, ".") || strings.TrimSpace(text) == "":
			return fmt.Errorf("rule %s: doc is not a title line, an empty line and a text", r.Name)
		case r.Severity < Off || r.Severity > Error:
			return fmt.Errorf("rule %s: no severity", r.Name)
		case len(r.Run) == 0 || len(r.Kinds()) != len(r.Run):
			return fmt.Errorf("rule %s: runs on no kind, on one twice or on an unknown one", r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}
