// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
)

func TestAll(t *testing.T) {
	require.NoError(t, analysis.Validate(All))
	var kinds []string
	for _, k := range Reads() {
		kinds = append(kinds, k.Kind)
	}
	require.Equal(t, []string{"ServiceEntry", "VirtualService", "DestinationRule", "Gateway", "Service", "Namespace"}, kinds)
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
