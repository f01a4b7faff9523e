// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const unfixed = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  http:
  - route:
    - destination: {host: api.example.com}
`

func runFix(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var out bytes.Buffer
	code = run(t.Context(), append([]string{"fix"}, args...), strings.NewReader(""), &out, &out)
	return code, out.String()
}

// TestFixKeepsFiles: a written file keeps its mode and its symbolic links, another
// hard link keeps the old text, which shows that files change at one stroke, and
// where there is nothing to do nothing is written.
func TestFixKeepsFiles(t *testing.T) {
	dir := t.TempDir()
	file, link, hard := filepath.Join(dir, "api.yaml"), filepath.Join(t.TempDir(), "link.yaml"), filepath.Join(t.TempDir(), "hard.yaml")
	require.NoError(t, os.WriteFile(file, []byte(unfixed), 0o600))
	require.NoError(t, os.Chmod(file, 0o664))
	require.NoError(t, os.Symlink(file, link))
	require.NoError(t, os.Link(file, hard))

	code, output := runFix(t, "-w", link)
	require.Zero(t, code, output)
	require.Empty(t, output)
	fixed, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(fixed), "    timeout: 15s\n")
	old, err := os.ReadFile(hard)
	require.NoError(t, err)
	require.Equal(t, unfixed, string(old))
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, info.Mode().Type())
	info, err = os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o664), info.Mode())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no other file is left behind")

	then := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, os.Chtimes(file, then, then))
	code, output = runFix(t, "-w", dir)
	require.Zero(t, code, output)
	info, err = os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, then, info.ModTime().UTC())
}

func TestDiffWithoutLineBreakAtTheEnd(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, writeDiff(&out, "/tmp/a", []byte("a\nb"), []byte("a\nb\nc")))
	require.Equal(t, `--- a/tmp/a
+++ b/tmp/a
@@ -1,2 +1,3 @@
 a
-b
\ No newline at end of file
+b
+c
\ No newline at end of file
`, out.String())
}

func TestReplaceFileFails(t *testing.T) {
	dir := t.TempDir()
	require.ErrorIs(t, replaceFile(filepath.Join(dir, "missing.yaml"), nil), fs.ErrNotExist)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
