// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// TestReadme: what the README shows of commands with bin/sallyport is what it says.
func TestReadme(t *testing.T) {
	t.Chdir(cluster.Root())
	data, err := os.ReadFile(filepath.Join(cluster.Root(), "README.md"))
	require.NoError(t, err)
	const prompt = "$ bin/sallyport "
	found := 0
	for rest := string(data); ; {
		_, after, ok := strings.Cut(rest, prompt)
		if !ok {
			break
		}
		found++
		arguments, after, _ := strings.Cut(after, "\n")
		want, after, _ := strings.Cut(after, "```\n")
		rest = after
		var stdout, stderr strings.Builder
		run(t.Context(), strings.Fields(arguments), strings.NewReader(""), &stdout, &stderr)
		require.Empty(t, stderr.String())
		require.Equal(t, want, stdout.String())
	}
	require.Positive(t, found)
}
