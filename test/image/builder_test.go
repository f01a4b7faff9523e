// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/stretchr/testify/require"
)

// TestContext: what the binary is built of reaches the builder, on every architecture,
// what go:embed reads included; and nothing else does.
func TestContext(t *testing.T) {
	const module = "github.com/sallyport-dev/sallyport"
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	want := map[string]bool{"go.mod": true, "go.sum": true}
	for _, arch := range architectures {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Dir,Module,GoFiles,IgnoredGoFiles,EmbedFiles", "./cmd/sallyport")
		cmd.Dir, cmd.Stderr = root, os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		out, err := cmd.Output()
		require.NoError(t, err)
		for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
			var pkg struct {
				Dir                                 string
				Module                              *struct{ Path string }
				GoFiles, IgnoredGoFiles, EmbedFiles []string
			}
			err := decoder.Decode(&pkg)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			if pkg.Module == nil || pkg.Module.Path != module {
				continue
			}
			dir, err := filepath.Rel(top, pkg.Dir)
			require.NoError(t, err)
			for _, file := range slices.Concat(pkg.GoFiles, pkg.IgnoredGoFiles, pkg.EmbedFiles) {
				if !strings.HasSuffix(file, "_test.go") {
					want[filepath.ToSlash(filepath.Join(dir, file))] = true
				}
			}
		}
	}
	got := map[string]bool{}
	for _, file := range admitted(t) {
		got[file] = true
	}
	require.Equal(t, want, got)
}

// admitted returns the files that .dockerignore lets through.
func admitted(t *testing.T) []string {
	t.Helper()
	patterns, err := ignorefile.ReadAll(bytes.NewReader(readFile(t, ".dockerignore")))
	require.NoError(t, err)
	matcher, err := patternmatcher.New(patterns)
	require.NoError(t, err)
	var files []string
	err = fs.WalkDir(os.DirFS(root), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		ignored, err := matcher.MatchesOrParentMatches(path)
		if !ignored {
			files = append(files, path)
		}
		return err
	})
	require.NoError(t, err)
	return files
}

// buildContext returns a folder of the test's with what .dockerignore lets through.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range admitted(t) {
		copied := filepath.Join(dir, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(copied), 0o755))
		require.NoError(t, os.WriteFile(copied, readFile(t, file), 0o644))
	}
	return dir
}

var built = map[string]string{} // the binaries by architecture; no tests run in parallel

// build does in a folder what the builder stage does, step by step, and returns the
// binary that the final stage copies. The image that it starts from is replaced by the
// Go at hand, and the cache mounts by its caches.
func build(t *testing.T, arch string) (binary string) {
	t.Helper()
	if binary, ok := built[arch]; ok {
		return binary
	}
	context := buildContext(t)
	rootfs := filepath.Join(scratch, arch)
	stage, final := stages(t)
	args := map[string]string{"TARGETOS": "linux", "TARGETARCH": arch, "VERSION": stamp}
	env := append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off") // as in the image
	workdir := rootfs
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.WorkdirCommand:
			workdir = filepath.Join(rootfs, c.Path)
			require.NoError(t, os.MkdirAll(workdir, 0o755))
		case *instructions.ArgCommand:
			for _, arg := range c.Args {
				env = append(env, arg.Key+"="+args[arg.Key])
			}
		case *instructions.CopyCommand:
			require.Empty(t, c.From)
			require.Equal(t, "./", filepath.Clean(c.DestPath)+"/")
			for _, source := range c.SourcePaths {
				// Of a folder, the contents are copied.
				from := context + "/" + source
				if info, err := os.Stat(from); err == nil && info.IsDir() {
					from += "/."
				}
				execute(t, exec.CommandContext(t.Context(), "cp", "-R", from, workdir))
			}
		case *instructions.RunCommand:
			require.True(t, c.PrependShell)
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", c.CmdLine[0])
			cmd.Dir, cmd.Env = workdir, env
			execute(t, cmd)
		default:
			require.Failf(t, "The builder does something that this test cannot do", "%s", c)
		}
	}
	binary = filepath.Join(rootfs, only[*instructions.CopyCommand](final)[0].SourcePaths[0])
	require.FileExists(t, binary)
	built[arch] = binary
	return binary
}

// execute runs a command that is to succeed, and returns what it writes.
func execute(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s: %s", cmd, &stderr)
	return stdout.String()
}
