// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/helm"
)

var update = flag.Bool("update", false, "write the files in deploy that are made of the chart")

// overlays are the folders of deploy/kustomize over its base, with the values that make
// the chart render the same.
var overlays = map[string][]string{
	"audit-only":   {"--set=maxAction=Audit,failurePolicy=Ignore"},
	"cert-manager": {"--set=certificates.mode=cert-manager"},
}

// TestGenerated: what is made of the chart is up to date.
func TestGenerated(t *testing.T) {
	crds, err := filepath.Glob(filepath.Join(cluster.Root(), "deploy", "crds", "*_*.yaml"))
	require.NoError(t, err)
	require.Len(t, crds, 2)
	var definitions [][]byte
	for _, file := range crds {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		definitions = append(definitions, data)
		check(t, "chart/crds/"+filepath.Base(file), data)
	}

	const header = "# Code generated from deploy/chart. DO NOT EDIT.\n"
	configuration := find(t, render(t), "ConfigMap", "sallyport")
	webhooks, _, err := unstructured.NestedString(configuration.Object, "data", "webhooks.yaml")
	require.NoError(t, err)
	check(t, "webhooks.yaml", []byte(header+webhooks))

	// In one file with its definition, kubectl would not know an EgressPolicy. Without it
	// the same holds, as built in.
	install := template(t, "--set=namespace.create=true,defaultPolicy.create=false")
	check(t, "install.yaml", slices.Concat([]byte(header), bytes.Join(definitions, nil), install))

	base := template(t, "--set=namespace.create=true")
	check(t, "kustomize/base/manifests.yaml", slices.Concat([]byte(header), base))
	for _, name := range slices.Sorted(maps.Keys(overlays)) {
		want := render(t, append([]string{"--set=namespace.create=true"}, overlays[name]...)...)
		patches := difference(t, objects(t, base), want)
		check(t, "kustomize/"+name+"/patches.yaml", slices.Concat([]byte(header), patches))
	}
}

// difference returns the patches that make of the first objects the second ones.
func difference(t *testing.T, from, to []*unstructured.Unstructured) []byte {
	t.Helper()
	var patches [][]byte
	for _, object := range from {
		other := lookUp(to, object.GetKind(), object.GetName())
		if other == nil {
			// A patch is told what to do by a field of its own.
			other = &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": object.GetAPIVersion(), "kind": object.GetKind(), "$patch": "delete",
				"metadata": map[string]any{"name": object.GetName(), "namespace": object.GetNamespace()},
			}}
		}
		if equality.Semantic.DeepEqual(object, other) {
			continue
		}
		patch, err := yaml.Marshal(other)
		require.NoError(t, err)
		patches = append(patches, patch)
	}
	require.Len(t, to, len(from)-bytes.Count(bytes.Join(patches, nil), []byte("$patch: delete")), "an overlay adds nothing")
	return bytes.Join(patches, []byte("---\n"))
}

// check compares a file below deploy with what it should be, and writes it with -update.
func check(t *testing.T, name string, want []byte) {
	t.Helper()
	file := filepath.Join(cluster.Root(), "deploy", filepath.FromSlash(name))
	if *update {
		require.NoError(t, os.WriteFile(file, want, 0o644))
		return
	}
	is, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, is), "%s is out of date: run make generate", name)
}

func template(t *testing.T, args ...string) []byte {
	t.Helper()
	out, err := helm.Template(t.Context(), args...)
	require.NoError(t, err)
	return out
}

// render returns the objects of the chart.
func render(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	return objects(t, template(t, args...))
}

func objects(t *testing.T, manifests []byte) []*unstructured.Unstructured {
	t.Helper()
	all, err := helm.Objects(manifests)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func lookUp(all []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	for _, object := range all {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	return nil
}

func find(t *testing.T, all []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	object := lookUp(all, kind, name)
	require.NotNil(t, object, fmt.Sprintf("the chart renders no %s %s", kind, name))
	return object
}
