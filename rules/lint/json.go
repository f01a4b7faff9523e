// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"io"
	"time"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const resultVersion = "cli.sallyport.dev/v1alpha1"

// CheckResult is a report in the format of "-o json". Fields are added to it,
// never renamed or removed.
type CheckResult struct {
	APIVersion   string               `json:"apiVersion"`
	Kind         string               `json:"kind"`
	Findings     []ResultFinding      `json:"findings"`
	NotEvaluated []ResultNotEvaluated `json:"notEvaluated"`
	Summary      Summary              `json:"summary"`
	// Unreadable is input that could not be read, so that the findings in it are
	// not known.
	Unreadable []ResultUnreadable `json:"unreadable,omitempty"`
}

// ResultUnreadable is input that could not be read. File is empty if the message has
// it, and Line is 0 if it is about all of a file.
type ResultUnreadable struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// ResultFinding is a finding in a [CheckResult].
type ResultFinding struct {
	Rule      string        `json:"rule"`
	Severity  string        `json:"severity"`
	Action    policy.Action `json:"action"`
	File      string        `json:"file"`
	Line      int           `json:"line"`
	Column    int           `json:"column"`
	Object    ObjectRef     `json:"object"`
	Field     string        `json:"field"`
	Value     any           `json:"value"`
	Message   string        `json:"message"`
	Exemption string        `json:"exemption"`
	// EnforceFrom is when a finding that warns or is audited now will deny.
	EnforceFrom *time.Time `json:"enforceFrom,omitempty"`
	// Baselined says that the finding is in the baseline, and is not counted.
	Baselined bool `json:"baselined,omitempty"`
}

// ResultNotEvaluated says that a rule could not tell about an object.
type ResultNotEvaluated struct {
	Rule   string    `json:"rule"`
	Object ObjectRef `json:"object"`
	Reason string    `json:"reason"`
}

// ObjectRef names an object.
type ObjectRef struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
}

// Summary counts.
type Summary struct {
	Files    int `json:"files"`
	Objects  int `json:"objects"`
	Deny     int `json:"deny"`
	Warn     int `json:"warn"`
	Audit    int `json:"audit"`
	Exempted int `json:"exempted"`
	// Skipped are documents of kinds that no rule is about.
	Skipped int `json:"skipped"`
	// Baselined are findings that the baseline has; nothing else counts them.
	Baselined int `json:"baselined,omitempty"`
}

// Result returns the report in the format of "-o json".
func (r *Report) Result() *CheckResult {
	out := &CheckResult{
		APIVersion:   resultVersion,
		Kind:         "CheckResult",
		Findings:     make([]ResultFinding, 0, len(r.Findings)),
		NotEvaluated: make([]ResultNotEvaluated, 0, len(r.NotEvaluated)),
		Summary: Summary{
			Files: r.Files, Objects: r.Objects, Skipped: r.Skipped, Exempted: r.Exempted(), Baselined: r.Baselined(),
			Deny: r.Count(policy.Deny), Warn: r.Count(policy.Warn), Audit: r.Count(policy.Audit),
		},
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		finding := ResultFinding{
			Rule: f.Rule.Name, Severity: f.Severity.String(), Action: f.Verdict.Action,
			File: f.Document.File, Line: f.Line, Column: f.Column, Object: reference(f.Document),
			Field: f.Field, Value: f.BadValue, Message: f.Detail, Exemption: f.Verdict.Exemption, Baselined: f.Baselined,
		}
		if !f.Verdict.EnforceFrom.IsZero() {
			finding.EnforceFrom = &f.Verdict.EnforceFrom
		}
		out.Findings = append(out.Findings, finding)
	}
	for _, n := range r.NotEvaluated {
		out.NotEvaluated = append(out.NotEvaluated, ResultNotEvaluated{Rule: n.Rule.Name, Object: reference(n.Document), Reason: n.Reason})
	}
	for _, f := range r.faultyInputs() {
		out.Unreadable = append(out.Unreadable, ResultUnreadable{File: f.file, Line: f.line, Column: f.column, Message: f.message})
	}
	return out
}

func reference(doc *manifest.Document) ObjectRef {
	return ObjectRef{
		APIVersion: doc.GVK.GroupVersion().String(), Kind: doc.GVK.Kind,
		Namespace: doc.Object.GetNamespace(), Name: nameOf(doc.Object),
	}
}

// nameOf returns the name, or the prefix of one and an asterisk.
func nameOf(obj analysis.Object) string {
	if obj.GetName() == "" && obj.GetGenerateName() != "" {
		return obj.GetGenerateName() + "*"
	}
	return obj.GetName()
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(w io.Writer) error { return writeJSON(w, r.Result()) }

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
