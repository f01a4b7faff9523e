// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"encoding/xml"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

func junitOf(t *testing.T, report *lint.Report, failOn policy.Action) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, report.WriteJUnit(&out, failOn))
	requireCounts(t, out.Bytes())
	return out.Bytes()
}

// requireCounts counts the elements as a reader does, strictly.
func requireCounts(t *testing.T, data []byte) {
	t.Helper()
	type counts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	var got struct {
		counts
		Suites []struct {
			counts
			Cases []struct {
				Failures []struct{} `xml:"failure"`
				Errors   []struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(data, &got))
	var total counts
	for _, s := range got.Suites {
		var suite counts
		for _, c := range s.Cases {
			suite.Tests++
			suite.Failures += len(c.Failures)
			suite.Errors += len(c.Errors)
			require.LessOrEqual(t, len(c.Failures)+len(c.Errors), 1)
		}
		require.Equal(t, suite, s.counts)
		total.Tests += suite.Tests
		total.Failures += suite.Failures
		total.Errors += suite.Errors
	}
	require.Equal(t, total, got.counts)
}

func TestWriteJUnit(t *testing.T) {
	report := newReport(t, reportRules()...)
	requireGolden(t, "report.junit.xml", junitOf(t, report, policy.Deny))
	requireGolden(t, "report_warn.junit.xml", junitOf(t, report, policy.Warn))
}

func TestWriteJUnitOfNothing(t *testing.T) {
	requireGolden(t, "empty.junit.xml", junitOf(t, new(lint.Report), policy.Deny))
}

// TestWriteJUnitTellsOfPanics: a check that is incomplete must not look clean.
func TestWriteJUnitTellsOfPanics(t *testing.T) {
	out := string(junitOf(t, newReport(t, broken), policy.Deny))
	require.Contains(t, out, `<testsuites name="sallyport" tests="12" failures="0" errors="6">`)
	require.Contains(t, out, `<error message="serviceentry/port panicked: at sea" type="panic">`)
}
