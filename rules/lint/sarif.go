// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"cmp"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// fingerprintName says how fingerprints are made; a change of that is a new name.
const fingerprintName = "sallyport/v1"

// WriteSARIF writes the report as SARIF 2.1.0; toolVersion is that of the
// program. What was not evaluated is no result, but a notification of the run.
func (r *Report) WriteSARIF(w io.Writer, toolVersion string) error {
	s := newSARIFWriter(r)
	run := sarifRun{
		Tool:        sarifTool{Driver: s.driver(toolVersion)},
		Invocations: []sarifInvocation{{ExecutionSuccessful: len(r.Panics)+len(r.Unreadable) == 0, Notifications: s.notifications(r)}},
		ColumnKind:  "unicodeCodePoints",
		Results:     make([]sarifResult, 0, len(r.Findings)),
	}
	for i := range r.Findings {
		run.Results = append(run.Results, s.result(&r.Findings[i]))
	}
	return writeJSON(w, sarifLog{
		Schema:  "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
		Version: "2.1.0",
		Runs:    []sarifRun{run},
	})
}

type sarifWriter struct {
	compared bool             // with a baseline
	rules    []*analysis.Rule // those that the report speaks of, by name
	index    map[string]int   // of the rules
}

func newSARIFWriter(r *Report) *sarifWriter {
	s := &sarifWriter{compared: r.compared, index: map[string]int{}}
	for i := range r.Findings {
		s.rules = append(s.rules, r.Findings[i].Rule)
	}
	for _, n := range r.NotEvaluated {
		s.rules = append(s.rules, n.Rule)
	}
	slices.SortFunc(s.rules, func(a, b *analysis.Rule) int { return cmp.Compare(a.Name, b.Name) })
	s.rules = slices.Compact(s.rules)
	for i, rule := range s.rules {
		s.index[rule.Name] = i
	}
	return s
}

func (s *sarifWriter) driver(toolVersion string) sarifDriver {
	d := sarifDriver{
		Name: "sallyport", Version: toolVersion, InformationURI: "https://github.com/sallyport-dev/sallyport",
		Rules: make([]sarifRule, 0, len(s.rules)),
	}
	if v, err := version.ParseSemantic(toolVersion); err == nil {
		d.SemanticVersion = v.String()
	}
	for _, rule := range s.rules {
		d.Rules = append(d.Rules, describeRule(rule))
	}
	return d
}

func describeRule(rule *analysis.Rule) sarifRule {
	_, text, _ := strings.Cut(rule.Doc, "\n\n")
	first, _, _ := strings.Cut(text, "\n\n")
	return sarifRule{
		ID:                   rule.Name,
		ShortDescription:     plain(rule.Title()),
		FullDescription:      plain(strings.ReplaceAll(first, "\n", " ")),
		DefaultConfiguration: defaultLevel[rule.Severity],
		Help:                 sarifText{Text: escapeBraces.Replace(text), Markdown: escapeMarkdown.Replace(text)},
	}
}

var defaultLevel = map[analysis.Severity]sarifConfiguration{
	analysis.Error:   {Enabled: true, Level: "error"},
	analysis.Warning: {Enabled: true, Level: "warning"},
	analysis.Off:     {Enabled: false},
}

var (
	// Braces in texts are placeholders of arguments (SARIF 2.1.0, 3.11.5).
	escapeBraces   = strings.NewReplacer("{", "{{", "}", "}}")
	escapeMarkdown = strings.NewReplacer("{", "{{", "}", "}}", "*", `\*`, "<", "&lt;")
)

func plain(text string) sarifText { return sarifText{Text: escapeBraces.Replace(text)} }

func (s *sarifWriter) result(f *Finding) sarifResult {
	location := objectLocation(f.Document)
	if f.Line > 0 {
		location.PhysicalLocation.Region = &sarifRegion{StartLine: f.Line, StartColumn: f.Column, EndColumn: f.endColumn()}
	}
	if f.Field != "" {
		location.LogicalLocations = append(location.LogicalLocations, sarifLogical{
			Name: f.Field, FullyQualifiedName: objectName(f.Document) + "/" + f.Field, Kind: "property",
		})
	}
	result := sarifResult{
		RuleID: f.Rule.Name, RuleIndex: s.index[f.Rule.Name], Level: sarifLevel(f.Verdict.Action),
		Message: plain(f.message()), Locations: []sarifLocation{location},
		PartialFingerprints: map[string]string{fingerprintName: f.Fingerprint()},
		Suppressions:        []sarifSuppression{},
	}
	if v := f.Verdict; v.Exemption != "" {
		result.Suppressions = []sarifSuppression{{
			Kind: "external", Status: "accepted",
			Justification: "EgressExemption " + v.Exemption + ", until " + v.ExemptUntil.UTC().Format(time.RFC3339),
		}}
	}
	if f.Baselined {
		result.Suppressions = []sarifSuppression{{Kind: "external", Status: "accepted", Justification: "in the baseline"}}
	}
	if s.compared {
		result.BaselineState = baselineState[f.Baselined]
	}
	if from := f.Verdict.EnforceFrom; !from.IsZero() {
		result.Properties = map[string]string{"enforceFrom": from.UTC().Format(time.RFC3339)}
	}
	return result
}

var baselineState = map[bool]string{true: "unchanged", false: "new"}

func (f *faultyInput) region() *sarifRegion {
	if f.line == 0 {
		return nil
	}
	return &sarifRegion{StartLine: f.line, StartColumn: f.column, EndColumn: f.column + 1}
}

func sarifLevel(action policy.Action) string {
	switch action {
	case policy.Deny:
		return "error"
	case policy.Warn:
		return "warning"
	default:
		return "note"
	}
}

func objectLocation(doc *manifest.Document) sarifLocation {
	return sarifLocation{
		PhysicalLocation: sarifPhysical{ArtifactLocation: sarifArtifact{URI: fileURI(doc.File)}},
		LogicalLocations: []sarifLogical{{Name: nameOf(doc.Object), FullyQualifiedName: objectName(doc), Kind: "object"}},
	}
}

// fileURI is a relative reference for relative paths.
func fileURI(file string) string {
	u := url.URL{Path: cleanPath(file)}
	if filepath.IsAbs(file) {
		u.Scheme, u.Path = "file", "/"+strings.TrimPrefix(u.Path, "/")
	}
	return u.String()
}

func (s *sarifWriter) notifications(r *Report) []sarifNotification {
	var notes []sarifNotification
	for _, p := range r.Panics {
		notes = append(notes, sarifNotification{Level: "error", Message: plain(p.Error())})
	}
	for _, f := range r.faultyInputs() {
		note := sarifNotification{Level: "error", Message: plain("cannot be read: " + f.message)}
		if f.file != "" {
			note.Locations = []sarifLocation{{PhysicalLocation: sarifPhysical{ArtifactLocation: sarifArtifact{URI: fileURI(f.file)}, Region: f.region()}}}
		}
		notes = append(notes, note)
	}
	for _, g := range r.gaps() {
		note := sarifNotification{
			Level: "note", Message: plain("not evaluated: " + g.reason),
			AssociatedRule: &sarifRuleRef{ID: g.rule.Name, Index: s.index[g.rule.Name]},
		}
		for _, doc := range g.documents {
			note.Locations = append(note.Locations, objectLocation(doc))
		}
		notes = append(notes, note)
	}
	return notes
}
