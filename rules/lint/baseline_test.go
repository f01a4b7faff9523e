// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

func TestBaselineIsWrittenAndRead(t *testing.T) {
	var text bytes.Buffer
	written := newReport(t, reportRules()...).Baseline()
	require.NoError(t, written.Write(&text))
	requireGolden(t, "baseline.json", text.Bytes())
	read, err := lint.ParseBaseline(text.Bytes())
	require.NoError(t, err)
	require.Equal(t, written, read)
}

func TestNothingCountsThatABaselineHas(t *testing.T) {
	report := newReport(t, reportRules()...)
	require.Zero(t, report.Accept(report.Baseline()))
	require.Zero(t, report.Count(policy.Deny)+report.Count(policy.Warn)+report.Count(policy.Audit))
	require.Equal(t, 1, report.Exempted(), "exemptions end, baselines do not")
	require.Equal(t, len(report.Findings)-1, report.Baselined())
	requireFormats(t, "baselined", report)
}

func TestFindingsAreNewThatABaselineHasNot(t *testing.T) {
	baseline := newReport(t, reportRules()...).Baseline()
	baseline.Findings = slices.DeleteFunc(baseline.Findings, func(f lint.BaselineFinding) bool { return f.Value == "*.example.com" })
	report := newReport(t, reportRules()...)
	require.Zero(t, report.Accept(baseline))
	require.Equal(t, 1, report.Count(policy.Deny))
}

// TestBaselineCounts: what is found more often than before is new, and what is found
// less often is gone.
func TestBaselineCounts(t *testing.T) {
	report := newReport(t, reportRules()...)
	twice := report.Baseline()
	for i := range twice.Findings {
		twice.Findings[i].Count++
	}
	require.Equal(t, len(twice.Findings), report.Accept(twice))
	doubled := newReport(t, reportRules()...)
	once := doubled.Baseline()
	doubled.Findings = append(doubled.Findings, doubled.Findings...)
	require.Zero(t, doubled.Accept(once))
	require.Equal(t, len(once.Findings), doubled.Baselined())
}

func TestParseBaselineRefuses(t *testing.T) {
	for text, message := range map[string]string{
		"":   "EOF",
		"{}": `want apiVersion cli.sallyport.dev/v1alpha1 and kind Baseline, not "" and ""`,
		`{"apiVersion": "cli.sallyport.dev/v1alpha1", "kind": "Baseline", "findings": []} x`: "there is something behind the object",
		`{"finding": []}`: `unknown field "finding"`,
	} {
		_, err := lint.ParseBaseline([]byte(text))
		require.ErrorContains(t, err, message)
	}
}

// TestUnreadableInputIsNamed: who reads only the report must not take it for complete.
func TestUnreadableInputIsNamed(t *testing.T) {
	report := newReport(t, reportRules()...)
	report.Findings, report.NotEvaluated = nil, nil
	report.Unreadable = []error{
		&fs.PathError{Op: "open", Path: "./secret.yaml", Err: syscall.EACCES},
		&manifest.Error{File: "deploy/chart.yaml", Position: manifest.Position{Line: 3, Column: 5}, Message: "duplicate key {kind}"},
		fs.ErrClosed,
	}
	requireFormats(t, "unreadable", report)
}

func requireFormats(t *testing.T, name string, report *lint.Report) {
	t.Helper()
	var text, github, sarif, json bytes.Buffer
	require.NoError(t, report.WriteText(&text, false))
	require.NoError(t, report.WriteGitHub(&github))
	require.NoError(t, report.WriteSARIF(&sarif, "v1.2.3"))
	require.NoError(t, report.WriteJSON(&json))
	requireGolden(t, name+".txt", text.Bytes())
	requireGolden(t, name+".github", github.Bytes())
	requireGolden(t, name+".sarif", sarif.Bytes())
	requireGolden(t, name+".json", json.Bytes())
	requireGolden(t, name+".junit.xml", junitOf(t, report, policy.Warn))
}
