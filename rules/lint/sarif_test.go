// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

func sarif(t *testing.T, report *lint.Report, version string) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, report.WriteSARIF(&out, version))
	return out.Bytes()
}

// TestWriteSARIF: that the expected reports are valid is for test/tools/sarif.
func TestWriteSARIF(t *testing.T) {
	requireGolden(t, "report.sarif", sarif(t, newReport(t, reportRules()...), "v1.2.3-rc.1"))
	requireGolden(t, "empty.sarif", sarif(t, new(lint.Report), "(devel)"))
	failed := newReport(t, broken)
	failed.Panics = failed.Panics[:1] // they are alike
	requireGolden(t, "panic.sarif", sarif(t, failed, "v1.2.3"))
}

func TestWriteSARIFIsDeterministic(t *testing.T) {
	want := sarif(t, newReport(t, reportRules()...), "v1.2.3")
	for range 5 {
		require.Equal(t, string(want), string(sarif(t, newReport(t, reportRules()...), "v1.2.3")))
	}
}

func TestWriteSARIFLeadsToFiles(t *testing.T) {
	absolute, err := filepath.Abs("a b.yaml")
	require.NoError(t, err)
	for file, want := range map[string]string{
		"./a.yaml":       "a.yaml",
		"../a.yaml":      "../a.yaml",
		"a:b/c?d#e.yaml": "./a:b/c%3Fd%23e.yaml",
		"é.yaml":         "%C3%A9.yaml",
		"<stdin>":        "%3Cstdin%3E",
		absolute:         "file://" + strings.ReplaceAll(absolute, " ", "%20"),
	} {
		report := newReport(t, reportRules()...)
		report.Findings = report.Findings[:1]
		report.Findings[0].Document = documentOf(t, file)
		var log struct {
			Runs []struct {
				Results []struct {
					Locations []struct {
						PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
					}
				}
			}
		}
		require.NoError(t, json.Unmarshal(sarif(t, report, ""), &log))
		require.Equal(t, want, log.Runs[0].Results[0].Locations[0].PhysicalLocation.ArtifactLocation.URI)
	}
}

// documentOf returns a document of a file of that name.
func documentOf(t *testing.T, file string) *manifest.Document {
	t.Helper()
	for doc, err := range manifest.Documents(file, strings.NewReader(reportFiles[1].text)) {
		require.NoError(t, err)
		return doc
	}
	return nil
}
