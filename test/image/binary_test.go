// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// TestBinary: it is static, stripped and stamped, and does not tell where it was built.
func TestBinary(t *testing.T) {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			requireStatic(t, build(t, arch), machines[arch])
		})
	}
}

// requireStatic looks at a binary as the loader would, and at what it tells.
func requireStatic(t *testing.T, binary string, machine elf.Machine) {
	t.Helper()
	data, err := os.ReadFile(binary)
	require.NoError(t, err)
	t.Logf("%d MiB", len(data)>>20)
	file, err := elf.NewFile(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, machine, file.Machine)
	for _, segment := range file.Progs {
		require.NotEqual(t, elf.PT_INTERP, segment.Type, "no loader is in the image")
		require.NotEqual(t, elf.PT_DYNAMIC, segment.Type)
	}
	libraries, err := file.DynString(elf.DT_NEEDED)
	require.NoError(t, err)
	require.Empty(t, libraries)
	require.Nil(t, file.Section(".symtab"))
	require.Nil(t, file.Section(".debug_info"))

	info, err := buildinfo.Read(bytes.NewReader(data))
	require.NoError(t, err, "go version -m and scanners read it")
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	require.Equal(t, "0", settings["CGO_ENABLED"])
	require.Equal(t, "true", settings["-trimpath"])
	require.Equal(t, "github.com/sallyport-dev/sallyport/cmd/sallyport", info.Path)
	require.NotEmpty(t, info.Deps)

	require.True(t, bytes.Contains(data, []byte(stamp)))
	top, err := filepath.Abs(root)
	require.NoError(t, err)
	places := map[string]string{"the sources": top, "the builder": scratch}
	for _, name := range []string{"GOROOT", "GOMODCACHE", "GOCACHE"} {
		places[name] = goEnv(t, name)
	}
	for name, path := range places {
		require.Greater(t, len(path), len("/"), name)
		require.False(t, bytes.Contains(data, []byte(path+"/")), "tells where %s is: %s", name, path)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(execute(t, exec.CommandContext(t.Context(), "go", "env", name)))
}

// TestVersion: the stamp is what it says, else the version that "go install" has recorded.
func TestVersion(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an image's binary runs on Linux only")
	}
	says := func(binary, version string) {
		want := fmt.Sprintf("sallyport %s (%s, linux/%s)\n", version, goEnv(t, "GOVERSION"), runtime.GOARCH)
		require.Equal(t, want, execute(t, exec.CommandContext(t.Context(), binary, "version")))
	}
	says(build(t, runtime.GOARCH), stamp)
	says(install(t, "v1.2.3"), "v1.2.3")
}

// TestPorts: the image tells of the ports that the server opens unless told otherwise.
func TestPorts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an image's binary runs on Linux only")
	}
	_, final := stages(t)
	exposed := only[*instructions.ExposeCommand](final)
	require.Len(t, exposed, 1)
	help := execute(t, exec.CommandContext(t.Context(), build(t, runtime.GOARCH), "serve", "--help"))
	var defaults []string
	for _, match := range regexp.MustCompile(`\(default "?:(\d+)`).FindAllStringSubmatch(help, -1) {
		defaults = append(defaults, match[1])
	}
	require.ElementsMatch(t, defaults, exposed[0].Ports)
}

// install does what "go install" does with a release, from a module proxy that has it,
// and returns the binary.
func install(t *testing.T, version string) string {
	t.Helper()
	release := module.Version{Path: "github.com/sallyport-dev/sallyport", Version: version}
	proxy := filepath.Join(t.TempDir(), "proxy")
	dir := filepath.Join(proxy, release.Path, "@v")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "list"), []byte(version), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, version+".info"), []byte(`{"Version":"`+version+`"}`), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, version+".mod"), readFile(t, "go.mod"), 0o644))
	file, err := os.Create(filepath.Join(dir, version+".zip"))
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, zip.CreateFromDir(file, release, buildContext(t)))

	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", "-trimpath", "-modcacherw", release.Path+"/cmd/sallyport@"+version)
	cmd.Dir = bin // outside of any module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+bin, "GOSUMDB=off",
		// The modules are those at hand, but the release is not to stay among them.
		"GOPROXY=file://"+proxy+",file://"+goEnv(t, "GOMODCACHE")+"/cache/download", "GOMODCACHE="+t.TempDir())
	execute(t, cmd)
	return filepath.Join(bin, "sallyport")
}
