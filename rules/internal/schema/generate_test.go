// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kyaml "sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var update = flag.Bool("update", false, "rewrite the generated file")

const generated = "zz_generated.schemas.json"

// TestSchemas derives the schemas again from the CRDs that come with
// istio.io/api, and compares the kinds' versions with theirs.
func TestSchemas(t *testing.T) {
	crds := readCRDs(t)
	var lines []string
	for _, kind := range analysis.Kinds() {
		if !strings.HasSuffix(kind.Group, ".istio.io") {
			continue
		}
		def, ok := crds[kind.GroupKind]
		require.True(t, ok, kind)
		lines = append(lines, fmt.Sprintf("%q: %s", kind, encode(t, specOf(t, kind, def))))
	}
	got := "{" + strings.Join(lines, ",\n") + "}\n"
	if *update {
		require.NoError(t, os.WriteFile(generated, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(generated)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go generate")
}

// A crd is that part of a CustomResourceDefinition that says what is kept.
type crd struct {
	Spec struct {
		Group string
		Names struct{ Kind string }

		Versions []struct {
			Name   string
			Served bool
			Schema struct{ OpenAPIV3Schema jsonSchema }
		}
	}
}

type jsonSchema struct {
	Type                 string                 `json:"type"`
	Properties           map[string]*jsonSchema `json:"properties"`
	Items                *jsonSchema            `json:"items"`
	AdditionalProperties *jsonSchema            `json:"additionalProperties"`
	Enum                 []string               `json:"enum"`
	PreserveUnknown      bool                   `json:"x-kubernetes-preserve-unknown-fields"`
}

func readCRDs(t *testing.T) map[schema.GroupKind]*crd {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	require.NoError(t, err)
	all, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "kubernetes", "customresourcedefinitions.gen.yaml"))
	require.NoError(t, err)
	crds := map[schema.GroupKind]*crd{}
	for doc := range strings.SplitSeq(string(all), "\n---\n") {
		def := new(crd)
		require.NoError(t, kyaml.Unmarshal([]byte(doc), def))
		crds[schema.GroupKind{Group: def.Spec.Group, Kind: def.Spec.Names.Kind}] = def
	}
	return crds
}

// specOf returns the schema of the spec, which all versions must share.
func specOf(t *testing.T, kind *analysis.Kind, def *crd) *node {
	t.Helper()
	var versions []string
	var spec *node
	for _, v := range def.Spec.Versions {
		if !v.Served {
			continue
		}
		versions = append(versions, v.Name)
		n := reduce(v.Schema.OpenAPIV3Schema.Properties["spec"])
		require.True(t, spec == nil || slices.Equal(encode(t, spec), encode(t, n)), "%s: versions differ", kind)
		spec = n
	}
	require.ElementsMatch(t, kind.Versions, versions, kind)
	return spec
}

func encode(t *testing.T, n *node) []byte {
	t.Helper()
	b, err := json.Marshal(n)
	require.NoError(t, err)
	return b
}

func reduce(s *jsonSchema) *node {
	switch {
	case s.PreserveUnknown:
		return &node{Any: true}
	case s.AdditionalProperties != nil:
		return &node{Values: reduce(s.AdditionalProperties)}
	case s.Type == "object":
		n := &node{Fields: map[string]*node{}}
		for name, p := range s.Properties {
			n.Fields[name] = reduce(p)
		}
		return n
	case s.Type == "array":
		return &node{Items: reduce(s.Items)}
	default:
		return &node{Enum: s.Enum}
	}
}
