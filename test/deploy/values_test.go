// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/test/helm"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// TestFlags: the server knows each flag that the chart can give it, and finds what it
// names among the volumes.
func TestFlags(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sallyport")
	require.NoError(t, sallyport.Build(t.Context(), binary))
	for _, args := range []string{
		everything,
		"--set=metrics.enabled=false,verbosity=1,extraArgs={--tls-min-version=1.2}",
		"--set=tracing.endpoint=http://collector:4318,tracing.sampleRatio=0.1",
		"--set=certificates.mode=cert-manager,certificates.issuer=ClusterIssuer/corporate,certificates.cainjector=true",
		"--set=certificates.mode=files,certificates.secretName=mine",
		"--set=certificates.mode=files,certificates.secretName=mine,certificates.hasCA=false",
		"--set=certificates.client.configMapName=callers,certificates.client.allowedNames={kube-apiserver,front-proxy}",
	} {
		pod := as[appsv1.Deployment](t, render(t, args), "Deployment", "sallyport").Spec.Template.Spec
		flags := pod.Containers[0].Args
		out, err := exec.CommandContext(t.Context(), binary, append(flags, "--help")...).CombinedOutput()
		require.NoError(t, err, "%s: %s", args, out)
		mounted := map[string]bool{}
		for _, mount := range pod.Containers[0].VolumeMounts {
			require.True(t, mount.ReadOnly)
			require.True(t, slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name }), mount.Name)
			mounted[mount.MountPath] = true
		}
		for _, flag := range flags {
			if _, value, _ := strings.Cut(flag, "="); strings.HasPrefix(value, "/etc/") {
				require.True(t, mounted[filepath.Dir(value)], flag)
			}
		}
	}
}

// TestImage: the image is the chart's version, unless one says which.
func TestImage(t *testing.T) {
	image := func(args string) string {
		return as[appsv1.Deployment](t, render(t, args), "Deployment", "sallyport").Spec.Template.Spec.Containers[0].Image
	}
	require.Equal(t, "example.com/sallyport:v0.1.0", image("--set=image.repository=example.com/sallyport"))
	require.Equal(t, "example.com/sallyport:v2", image("--set=image.repository=example.com/sallyport,image.tag=v2"))
	digest := "sha256:" + strings.Repeat("0", 64)
	require.Equal(t, "example.com/sallyport@"+digest, image("--set=image.repository=example.com/sallyport,image.tag=v2,image.digest="+digest))
}

// TestValues: each value is described, and what is not a value is refused.
func TestValues(t *testing.T) {
	var schema, values map[string]any
	data, err := os.ReadFile(filepath.Join(helm.Chart(), "values.schema.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &schema))
	data, err = os.ReadFile(filepath.Join(helm.Chart(), "values.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(data, &values))
	described(t, "", schema, values)
	for _, profile := range helm.Profiles {
		data, err := os.ReadFile(filepath.Join(helm.Chart(), "profiles", profile+".yaml"))
		require.NoError(t, err)
		require.NoError(t, yaml.Unmarshal(data, &values))
		described(t, profile, schema, values)
	}
	for args, want := range map[string]string{
		"profile=tiny":                                      "must be one of 'trial', 'standard', 'high-availability'",
		"webhook.namespaces={shop}":                         "additional properties 'webhook' not allowed",
		"webhooks.namespaces={Shop}":                        "does not match pattern",
		"certificates.mode=files":                           "/certificates/secretName",
		"certificates.issuer=ClusterIssuer/corporate":       "/certificates/issuer",
		"image.digest=latest":                               "does not match pattern",
		"replicas=0":                                        "minimum",
		"mesh.istoVersion=1":                                "additional properties 'istoVersion' not allowed",
		"defaultPolicy.enforceFrom=2027-03-01T00:00:00Z":    "set it to Warn or Audit",
		"profile=trial,defaultPolicy.enforceFrom=next-week": "does not match pattern",
	} {
		_, err := helm.Template(t.Context(), "--set="+args)
		require.ErrorContains(t, err, want, args)
	}
}

// TestMeshSchema: the schema knows the fields of a Configuration, and no others.
func TestMeshSchema(t *testing.T) {
	var schema map[string]any
	data, err := os.ReadFile(filepath.Join(helm.Chart(), "values.schema.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &schema))
	mesh, _, err := unstructured.NestedMap(schema, "properties", "mesh")
	require.NoError(t, err)
	sameFields(t, "mesh", mesh, reflect.TypeFor[config.Mesh]())
}

// sameFields compares a schema with a type.
func sameFields(t *testing.T, path string, schema map[string]any, typ reflect.Type) {
	t.Helper()
	if typ.Kind() == reflect.Slice {
		schema, _ = schema["items"].(map[string]any)
		typ = typ.Elem()
	}
	properties, ok := schema["properties"].(map[string]any)
	if typ.Kind() != reflect.Struct || !ok {
		return // a scalar, or written as one
	}
	var fields []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if property, ok := properties[name].(map[string]any); ok {
			sameFields(t, path+"."+name, property, f.Type)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(properties)), fields, path)
}

// described checks that the schema knows each value by a description.
func described(t *testing.T, path string, schema, values map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return // free
	}
	for name, value := range values {
		property, ok := properties[name].(map[string]any)
		require.True(t, ok, "%s.%s is not in the schema", path, name)
		require.NotEmpty(t, property["description"], "%s.%s", path, name)
		if inner, ok := value.(map[string]any); ok {
			described(t, path+"."+name, property, inner)
		}
	}
}
