// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/lint"
)

func TestWriteGitHub(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, newReport(t, reportRules()...).WriteGitHub(&out))
	requireGolden(t, "report.github", out.Bytes())
}

func TestWriteGitHubOfNothing(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, new(lint.Report).WriteGitHub(&out))
	require.Empty(t, out.String())
}

// TestWriteGitHubTellsOfPanics: a check that is incomplete must not look clean.
func TestWriteGitHubTellsOfPanics(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, newReport(t, broken).WriteGitHub(&out))
	require.Contains(t, out.String(), "::error title=serviceentry/port::serviceentry/port panicked: at sea\n")
}
