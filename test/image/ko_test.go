// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// koConfig is the part of .ko.yaml that we use.
type koConfig struct {
	DefaultBaseImage string   `json:"defaultBaseImage"`
	DefaultPlatforms []string `json:"defaultPlatforms"`
	Builds           []struct {
		ID, Main            string
		Env, Flags, Ldflags []string
	}
}

// TestKoAgrees: what ko builds is what the Dockerfile builds.
func TestKoAgrees(t *testing.T) {
	var config koConfig
	require.NoError(t, yaml.UnmarshalStrict(readFile(t, "deploy/.ko.yaml"), &config))
	require.Equal(t, base, config.DefaultBaseImage)
	var platforms []string
	for _, arch := range architectures {
		platforms = append(platforms, "linux/"+arch)
	}
	require.Equal(t, platforms, config.DefaultPlatforms)
	require.Len(t, config.Builds, 1)
	b := config.Builds[0]
	stage, _ := stages(t)
	runs := only[*instructions.RunCommand](stage)
	same := strings.Join(b.Env, " ") + " GOOS=$TARGETOS GOARCH=$TARGETARCH go build " + strings.Join(b.Flags, " ") +
		` -ldflags "` + strings.ReplaceAll(strings.Join(b.Ldflags, " "), "{{.Env.VERSION}}", "$VERSION") + `" -o bin/ ` + b.Main
	require.Equal(t, strings.Fields(same), strings.Fields(runs[len(runs)-1].CmdLine[0]))
}

// TestKo: ko itself builds an image for each platform, with the binary for it. Only the
// base is replaced, by an empty one.
func TestKo(t *testing.T) {
	dir := filepath.Join(scratch, "layout") // ko takes no capital letters, such as those of this test's name
	cmd := exec.CommandContext(t.Context(), "make", "image-ko", "VERSION="+stamp, "KO_OUTPUT=--push=false --oci-layout-path="+dir)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "KO_DEFAULTBASEIMAGE="+serveBase(t), "KOCACHE="+t.TempDir())
	execute(t, cmd)

	// ko writes an index of the images, which the layout's own index lists.
	top, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	images := map[string]v1.Image{}
	collect(t, top, images)
	require.Len(t, images, len(architectures))
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			image := images["linux/"+arch]
			require.NotNil(t, image)
			config, err := image.ConfigFile()
			require.NoError(t, err)
			require.Equal(t, "65532:65532", config.Config.User)
			require.Equal(t, stamp, config.Config.Labels["org.opencontainers.image.version"])
			require.Len(t, config.Config.Entrypoint, 1)
			files := contents(t, image)
			entrypoint := strings.TrimPrefix(config.Config.Entrypoint[0], "/")
			require.Contains(t, files, entrypoint)
			require.Len(t, files, 1)
			binary := filepath.Join(t.TempDir(), path.Base(entrypoint))
			require.NoError(t, os.WriteFile(binary, files[entrypoint], 0o755))
			requireStatic(t, binary, machines[arch])
		})
	}
}

// serveBase serves an empty image for each platform, and returns its name.
func serveBase(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range architectures {
		config, err := empty.Image.ConfigFile()
		require.NoError(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture, config.Config.User = "linux", arch, strconv.Itoa(user)
		image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), config)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/base:nonroot")
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, remote.WithContext(t.Context())))
	return ref.Name()
}

// collect finds the images of an index, and of those in it, by their platforms.
func collect(t *testing.T, index v1.ImageIndex, images map[string]v1.Image) {
	t.Helper()
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	for _, descriptor := range manifest.Manifests {
		if descriptor.MediaType.IsIndex() {
			inner, err := index.ImageIndex(descriptor.Digest)
			require.NoError(t, err)
			collect(t, inner, images)
			continue
		}
		image, err := index.Image(descriptor.Digest)
		require.NoError(t, err)
		require.NotNil(t, descriptor.Platform)
		images[descriptor.Platform.String()] = image
	}
}

// contents returns the files of an image.
func contents(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	flat := mutate.Extract(image)
	defer flat.Close()
	files := map[string][]byte{}
	for reader := tar.NewReader(flat); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		if header.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(reader)
		require.NoError(t, err)
		files[strings.TrimPrefix(header.Name, "/")] = data
	}
}
