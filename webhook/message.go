// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// The limits of what a user is shown. Warnings: the API server recommends 120
// characters and cuts them once all together pass 4096 (k8s.io/apiserver
// v0.37, endpoints/filters/warning.go).
const (
	maxWarnings      = 5
	maxWarningLength = 120
	maxValueLength   = 64
	maxErrorLength   = 256
	maxCauses        = 25
)

// denial makes the answer to an object with denied findings: 422 with a cause
// for each, as the API server itself answers invalid objects. The last cause is
// why the glass could not be broken, unless that is nil: a cause, since kubectl
// prints nothing else.
func denial(kind schema.GroupKind, name string, denied []analysis.Finding, glass *field.Error) *metav1.Status {
	shown := denied[:min(len(denied), maxCauses)]
	list := make(field.ErrorList, 0, len(shown)+1)
	for i := range shown {
		list = append(list, present(&shown[i]))
	}
	if glass != nil {
		list = append(list, glass)
	}
	status := apierrors.NewInvalid(kind, name, list).Status()
	if more := len(denied) - len(shown); more > 0 {
		status.Message += fmt.Sprintf(" and %d more", more)
	}
	status.Message += "; to read more, run: sallyport explain " + strings.Join(ruleNames(shown), " ")
	return &status
}

// present returns the error that a user sees for a finding: with the rule's
// name at the end and without values that fill a screen.
func present(f *analysis.Finding) *field.Error {
	shown := *f.Error
	shown.Detail = fmt.Sprintf("%s (%s)", shown.Detail, f.Rule.Name)
	if s, ok := shown.BadValue.(string); ok {
		shown.BadValue = cut(s, maxValueLength)
	}
	return &shown
}

// warnings returns what a user is told about findings that do not deny.
func warnings(findings []analysis.Finding) []string {
	var all []string
	for i := range findings {
		switch v := &findings[i].Verdict; {
		case v.Action == policy.Warn:
			all = append(all, warning(&findings[i]))
		case v.ExemptFrom == policy.Deny, v.ExemptFrom == policy.Warn:
			all = append(all, cut(fmt.Sprintf("%s: %s: exempted by '%s' until %s",
				findings[i].Rule.Name, findings[i].Field, v.Exemption, v.ExemptUntil.UTC().Format(time.DateOnly)), maxWarningLength))
		}
	}
	return all
}

// capWarnings keeps as many warnings as a user is shown.
func capWarnings(all []string) []string {
	if len(all) <= maxWarnings {
		return all
	}
	return append(all[:maxWarnings:maxWarnings], fmt.Sprintf("sallyport: and %d more", len(all)-maxWarnings))
}

func warning(f *analysis.Finding) string {
	text := fmt.Sprintf("%s: %s: ", f.Rule.Name, f.Field)
	switch {
	case !f.Verdict.EnforceFrom.IsZero():
		text += fmt.Sprintf("denied from %s: ", f.Verdict.EnforceFrom.UTC().Format(time.DateOnly))
	case f.Verdict.Unchanged && f.Severity == analysis.Error:
		text += "admitted only because it was there before: "
	}
	return shorten(text, f.Detail)
}

// shorten joins a prefix and a detail to a warning. A detail that is too long
// loses its last clauses: what to do instead, then why.
func shorten(prefix, detail string) string {
	for _, end := range []string{"; ", ", "} {
		if len(prefix)+len(detail) <= maxWarningLength {
			break
		}
		detail, _, _ = strings.Cut(detail, end)
	}
	return cut(prefix+detail, maxWarningLength)
}

// injectionWarnings tell the user what was changed: a line for each field, or the
// summary of a mutator that has one.
func injectionWarnings(injections []analysis.Injection, ops []analysis.Operation) []string {
	var lines []string
	told := map[*analysis.Mutator]bool{}
	for i, in := range injections {
		switch {
		case in.Summary == "":
			lines = append(lines, injectionWarning(in, ops[i].Value))
		case !told[in.Mutator]:
			told[in.Mutator] = true
			lines = append(lines, cut(in.Mutator.Name+": "+in.Summary, maxWarningLength))
		}
	}
	return lines
}

func injectionWarning(in analysis.Injection, value []byte) string {
	if in.Op == analysis.Remove {
		return cut(fmt.Sprintf("%s: removed %s", in.Mutator.Name, in.Path), maxWarningLength)
	}
	text := fmt.Sprintf("%s: set %s", in.Mutator.Name, in.Path)
	if full := text + " to " + string(value); len(full) <= maxWarningLength {
		return full
	}
	return cut(text, maxWarningLength)
}

// cut shortens s to at most n bytes at a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	end := n - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// brief shortens what somebody else says, an error that may quote a whole value.
func brief(text string) string {
	words := strings.Fields(text)
	for i, word := range words {
		words[i] = cut(word, maxValueLength)
	}
	return cut(strings.Join(words, " "), maxErrorLength)
}

// annotations says in the API server's audit log why a request was answered as
// it was.
func annotations(pol *policy.Policy, findings []analysis.Finding) map[string]string {
	if len(findings) == 0 {
		return nil
	}
	byAction := map[string]string{}
	for i := range findings {
		f := &findings[i]
		action := strings.ToLower(string(f.Verdict.Action))
		if f.Verdict.Exemption != "" {
			byAction["exemption"] = appendUnique(byAction["exemption"], f.Verdict.Exemption)
		}
		byAction[action] = appendUnique(byAction[action], f.Rule.Name)
	}
	sources := strings.Join(pol.Sources, ",")
	if sources == "" {
		sources = "built-in"
	}
	byAction["policies"] = sources
	return byAction
}

func appendUnique(list, item string) string {
	if list == "" {
		return item
	}
	if slices.Contains(strings.Split(list, ","), item) {
		return list
	}
	return list + "," + item
}

func ruleNames(findings []analysis.Finding) []string {
	var names []string
	for i := range findings {
		if !slices.Contains(names, findings[i].Rule.Name) {
			names = append(names, findings[i].Rule.Name)
		}
	}
	return names
}
