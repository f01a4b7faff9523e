// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"flag"
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
)

func TestAll(t *testing.T) {
	require.NoError(t, analysis.Validate(All))
	require.Len(t, All, 49)
	var kinds []string
	for _, k := range Reads() {
		kinds = append(kinds, k.Kind)
	}
	require.Equal(t, []string{"ServiceEntry", "VirtualService", "AuthorizationPolicy", "DestinationRule", "Gateway", "Service", "Namespace"}, kinds)
}

// TestAllowCases: no rule's good example is another rule's bad one.
func TestAllowCases(t *testing.T) {
	archives := map[string][]byte{}
	for _, r := range All {
		found, err := analysistest.Archives(os.DirFS(path.Dir(r.Name)))
		require.NoError(t, err)
		archives[r.Name] = found[path.Base(r.Name)]
	}
	analysistest.RunAll(t, All, archives)
}

var update = flag.Bool("update", false, "write the generated files")

// TestReadme: the catalogue says what the rules say.
func TestReadme(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("README.md", []byte(Readme()), 0o600))
		return
	}
	written, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.True(t, Readme() == string(written), "rules/README.md is out of date; run make generate")
}

// TestExplain: every rule has an example of each verdict, and none shows the
// comments that are for tests.
func TestExplain(t *testing.T) {
	for _, r := range All {
		text, ok := Explain(r.Name)
		require.True(t, ok)
		require.Len(t, examplesOf(r), 2, r.Name)
		require.Contains(t, text, "# <- here", r.Name)
		require.NotContains(t, text, "# want", r.Name)
	}
	for _, m := range Mutators {
		text, ok := Explain(m.Name)
		require.True(t, ok)
		require.Contains(t, text, "becomes this", m.Name)
	}
	_, ok := Explain("serviceentry/none")
	require.False(t, ok)
}

// TestNames: policies can name all rules and kinds, and no others.
func TestNames(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile(namesFile, []byte(apiNames()), 0o600))
		return
	}
	written, err := os.ReadFile(namesFile)
	require.NoError(t, err)
	require.True(t, apiNames() == string(written), "%s is out of date; run make generate", namesFile)
}
