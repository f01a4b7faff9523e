// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config/mesh"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const platformDir = "../../deploy/platform"

// A world is one file in testdata, parsed.
type world struct {
	config    *config.Configuration
	policyFor func(namespace string) *policy.Policy
	mesh      *meshconfig.MeshConfig
	services  []byte
	platform  []byte
	objects   []byte
	after     []byte
	admission []string
	dangling  []string
	// danglingToday is the same for what Sallyport does not repair.
	danglingToday []string
	calls         []*call
}

var sectionNames = []string{
	"config.yaml", "policy.yaml", "mesh.yaml", "services.yaml", "platform", "platform.yaml",
	"after.yaml", "admission", "dangling", "dangling-today", "objects.yaml", "calls",
}

func loadWorld(t *testing.T, file string) *world {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	require.NoError(t, err)
	require.NotEmpty(t, bytes.TrimSpace(archive.Comment), "the comment says what the world shows")
	sections := map[string][]byte{}
	for _, f := range archive.Files {
		require.Contains(t, sectionNames, f.Name)
		require.NotContains(t, sections, f.Name, "the section stands twice")
		sections[f.Name] = f.Data
	}
	return newWorld(t, sections)
}

// newWorld makes a world of its sections.
func newWorld(t *testing.T, sections map[string][]byte) *world {
	t.Helper()
	addDefaults(t, sections, "testdata/default")
	w := &world{
		services: sections["services.yaml"],
		objects:  sections["objects.yaml"], after: sections["after.yaml"],
		admission: lines(sections["admission"]), dangling: lines(sections["dangling"]),
		danglingToday: lines(sections["dangling-today"]),
		calls:         parseCalls(t, sections["calls"]),
	}
	var err error
	w.config, err = config.Parse(sections["config.yaml"])
	require.NoError(t, err)
	var docs policy.Documents
	require.NoError(t, docs.Parse("policy.yaml", sections["policy.yaml"]))
	w.policyFor, err = docs.Compile()
	require.NoError(t, err)
	w.mesh, err = mesh.ApplyMeshConfigDefaults(string(sections["mesh.yaml"]))
	require.NoError(t, err)
	w.platform = platformOf(t, sections)
	return w
}

// addDefaults takes the files of a folder for the sections that are not there.
func addDefaults(t *testing.T, sections map[string][]byte, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		if _, ok := sections[filepath.Base(file)]; ok {
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		sections[filepath.Base(file)] = data
	}
}

func platformOf(t *testing.T, sections map[string][]byte) []byte {
	t.Helper()
	files := []string{"gateway.yaml"}
	if list, ok := sections["platform"]; ok {
		files = strings.Fields(string(list))
	}
	var parts [][]byte
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(platformDir, file))
		require.NoError(t, err)
		parts = append(parts, data)
	}
	return bytes.Join(append(parts, sections["platform.yaml"]), []byte("\n---\n"))
}

// lines returns the lines that are neither blank nor comments.
func lines(data []byte) []string {
	var all []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// documents decodes objects, anew at each call: what admits them changes them.
func documents(t *testing.T, data []byte) []*manifest.Document {
	t.Helper()
	var docs []*manifest.Document
	for doc, err := range manifest.Documents("world", bytes.NewReader(data)) {
		require.NoError(t, err)
		require.NotNil(t, doc.Object, "%s is no kind that Sallyport knows", doc.GVK)
		require.Empty(t, doc.Problems)
		require.Empty(t, doc.Unknown)
		docs = append(docs, doc)
	}
	return docs
}

// raw returns the objects as istiod has them without Sallyport: the last that was
// applied of each name.
func (w *world) raw(t *testing.T) []analysis.Object {
	t.Helper()
	var objects []analysis.Object
	for i, doc := range documents(t, w.objects) {
		at := slices.IndexFunc(objects, func(o analysis.Object) bool { return nameOf(o) == nameOf(doc.Object) })
		if at < 0 {
			setAge(doc.Object, i)
			objects = append(objects, doc.Object)
			continue
		}
		doc.Object.SetCreationTimestamp(objects[at].GetCreationTimestamp())
		objects[at] = doc.Object
	}
	return objects
}

// nameOf returns Kind/namespace/name.
func nameOf(obj analysis.Object) string {
	return analysis.KindOf(obj).Kind + "/" + obj.GetNamespace() + "/" + obj.GetName()
}
