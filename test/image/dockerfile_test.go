// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// stages returns the Dockerfile's stages: that which builds and that which is published.
func stages(t *testing.T) (build, final instructions.Stage) {
	t.Helper()
	parsed, err := parser.Parse(bytes.NewReader(readFile(t, "Dockerfile")))
	require.NoError(t, err)
	require.Empty(t, parsed.Warnings)
	all, args, err := instructions.Parse(parsed.AST, nil)
	require.NoError(t, err)
	require.Empty(t, args, "arguments of FROM hide what it is built of")
	require.Len(t, all, 2)
	return all[0], all[1]
}

// only returns the stage's commands of one type.
func only[T instructions.Command](stage instructions.Stage) []T {
	var found []T
	for _, command := range stage.Commands {
		if c, ok := command.(T); ok {
			found = append(found, c)
		}
	}
	return found
}

// TestBuilder: it runs where the build does, with the Go of go.mod, and caches modules
// apart from sources.
func TestBuilder(t *testing.T) {
	build, _ := stages(t)
	require.Equal(t, "$BUILDPLATFORM", build.Platform, "Go cross-compiles; nothing is to be emulated")
	mod, err := modfile.Parse("go.mod", readFile(t, "go.mod"), nil)
	require.NoError(t, err)
	require.Equal(t, "golang:"+strings.TrimPrefix(semver.MajorMinor("v"+mod.Go.Version), "v"), build.BaseName)

	copies := only[*instructions.CopyCommand](build)
	require.Len(t, copies, 2)
	require.Equal(t, []string{"go.mod", "go.sum"}, copies[0].SourcePaths, "modules are to be downloaded anew only if these change")
	runs := only[*instructions.RunCommand](build)
	require.Len(t, runs, 2)
	require.Equal(t, "go mod download", strings.TrimSpace(runs[0].CmdLine[0]))
	require.Equal(t, []string{"/go/pkg/mod"}, caches(t, runs[0]))
	require.Equal(t, []string{"/go/pkg/mod", "/root/.cache/go-build"}, caches(t, runs[1]))
	for _, part := range []string{"CGO_ENABLED=0", "GOOS=$TARGETOS", "GOARCH=$TARGETARCH", "-trimpath", "-s -w", "-X main.version=$VERSION"} {
		require.Contains(t, runs[1].CmdLine[0], part)
	}
}

func caches(t *testing.T, run *instructions.RunCommand) []string {
	t.Helper()
	require.NoError(t, run.Expand(func(word string) (string, error) { return word, nil }))
	var targets []string
	for _, mount := range instructions.GetMounts(run) {
		require.Equal(t, instructions.MountTypeCache, mount.Type)
		targets = append(targets, mount.Target)
	}
	return targets
}

// TestPublished: nothing is in the image but the base, which is static and not root, and
// the binary.
func TestPublished(t *testing.T) {
	build, final := stages(t)
	require.Equal(t, base, final.BaseName)
	require.Empty(t, final.Platform)
	copies := only[*instructions.CopyCommand](final)
	require.Len(t, copies, 1)
	require.Equal(t, build.Name, copies[0].From)
	require.Equal(t, []string{"/src/bin/sallyport"}, copies[0].SourcePaths)
	require.Equal(t, "/sallyport", copies[0].DestPath)
	require.Empty(t, only[*instructions.RunCommand](final))
	for _, stage := range []instructions.Stage{build, final} {
		require.Empty(t, only[*instructions.AddCommand](stage))
		for _, arg := range only[*instructions.ArgCommand](stage) {
			for _, a := range arg.Args {
				require.Nil(t, a.Value, a.Key)
				require.Contains(t, []string{"TARGETOS", "TARGETARCH", "VERSION", "REVISION"}, a.Key)
			}
		}
	}
}

// TestConfig: what BuildKit tells a runtime. Its own checks find nothing, among them
// secrets in arguments, undefined variables and shell forms.
func TestConfig(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			result, err := dockerfile2llb.Dockerfile2LLB(t.Context(), readFile(t, "Dockerfile"), dockerfile2llb.ConvertOpt{
				Config: dockerui.Config{
					BuildArgs:      map[string]string{"VERSION": stamp, "REVISION": revision},
					BuildPlatforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}},
				},
				TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: arch},
				MetaResolver:   bases{},
				Warn: func(rule, _, _, message string, _ []parser.Range) {
					require.Failf(t, "BuildKit warns", "%s: %s", rule, message)
				},
			})
			require.NoError(t, err)
			image := result.Image
			require.Equal(t, ocispecs.Platform{OS: "linux", Architecture: arch}, image.Platform)
			require.Equal(t, "65532:65532", image.Config.User, "runAsNonRoot looks up no names")
			require.Equal(t, []string{"/sallyport"}, image.Config.Entrypoint)
			require.Equal(t, []string{"serve"}, image.Config.Cmd)
			require.Equal(t, []string{"8081/tcp", "8443/tcp", "9443/tcp"}, slices.Sorted(maps.Keys(image.Config.ExposedPorts)))
			require.Empty(t, image.Config.Volumes)
			require.Empty(t, image.Config.OnBuild)
			require.Nil(t, image.Config.Healthcheck, "Kubernetes does not ask it")
			require.Equal(t, []string{"PATH=/bin"}, image.Config.Env, "nothing is added to that of the base")
			require.Equal(t, map[string]string{
				"org.opencontainers.image.title":       "Sallyport",
				"org.opencontainers.image.description": "Guards the egress of an Istio mesh at admission",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.source":      "https://github.com/sallyport-dev/sallyport",
				"org.opencontainers.image.version":     stamp,
				"org.opencontainers.image.revision":    revision,
			}, image.Config.Labels)
		})
	}
}

// bases knows what is to be known of the images that ours is built of.
type bases struct{}

func (bases) ResolveImageConfig(_ context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{
		Platform: *opt.ImageOpt.Platform,
		Config:   ocispecs.ImageConfig{User: "0", Env: []string{"PATH=/bin"}},
	})
	return ref, digest.FromBytes(config), config, err
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return data
}
