// SPDX-License-Identifier: Apache-2.0

package rules_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingReachesOut (R21): nothing that a user writes leads to a call, a file, a
// process or a template, since what judges it can do nothing of that.
func TestNothingReachesOut(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}: {{join .Imports \" \"}}", "./...").Output()
	require.NoError(t, err)
	packages := 0
	for line := range bytes.Lines(out) {
		name, imports, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if strings.Contains(name, "/analysistest") {
			continue // for tests
		}
		packages++
		for _, forbidden := range []string{"os", "os/exec", "net", "net/http", "plugin", "syscall", "text/template", "html/template", "unsafe"} {
			require.NotContains(t, strings.Fields(imports), forbidden, name)
		}
	}
	require.Greater(t, packages, 10)
}
