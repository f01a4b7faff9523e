// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"maps"
	"os"
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
	require.Equal(t, []string{"ServiceEntry", "VirtualService", "DestinationRule", "Service", "Namespace"}, kinds)
}

// TestAllowCases: no rule's good example is another rule's bad one.
func TestAllowCases(t *testing.T) {
	archives := map[string][]byte{}
	for _, dir := range []string{"serviceentry", "virtualservice"} {
		found, err := analysistest.Archives(os.DirFS(dir))
		require.NoError(t, err)
		maps.Copy(archives, found)
	}
	require.Len(t, archives, len(All))
	analysistest.RunAll(t, All, archives)
}
