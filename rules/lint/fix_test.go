// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const objects = `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a}
---
apiVersion: v1
kind: ConfigMap
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: c, namespace: shop}
`

// fixes applies one mutator for Sidecars, of which no rule is about.
func fixes(t *testing.T, apply func(*analysis.Edit, *networkingv1.Sidecar)) ([]manifest.Edit, error) {
	t.Helper()
	suite, err := analysis.NewSuite()
	require.NoError(t, err)
	linter := lint.New(lint.Options{
		Suite: suite, Config: config.Default(), Namespace: "default", Now: time.Unix(0, 0),
		Mutators:  []*analysis.Mutator{{Name: "mutate/test", Apply: analysis.To(apply)}},
		PolicyFor: func(string) *policy.Policy { return policy.Default() },
	})
	for doc, err := range manifest.Documents("f.yaml", strings.NewReader(objects)) {
		require.NoError(t, err)
		linter.Add(doc)
	}
	return linter.Fixes()
}

func TestFixes(t *testing.T) {
	path := field.NewPath("metadata", "labels")
	edits, err := fixes(t, func(edit *analysis.Edit, sc *networkingv1.Sidecar) {
		edit.Set(path, map[string]string{"in": sc.GetNamespace()})
		edit.Remove(path)
	})
	require.NoError(t, err)
	require.Len(t, edits, 2)
	require.Equal(t, "a", edits[0].Document.Object.GetName())
	require.Equal(t, []analysis.Operation{
		{Op: "add", Path: "/metadata/labels", Value: []byte(`{"in":"default"}`)},
		{Op: "remove", Path: "/metadata/labels"},
	}, edits[0].Operations)
	require.Equal(t, "c", edits[1].Document.Object.GetName())
}

func TestFixesFail(t *testing.T) {
	_, err := fixes(t, func(*analysis.Edit, *networkingv1.Sidecar) { panic("at sea") })
	require.EqualError(t, err, "mutate/test panicked: at sea")
	_, err = fixes(t, func(edit *analysis.Edit, _ *networkingv1.Sidecar) { edit.Set(field.NewPath("spec"), func() {}) })
	require.ErrorContains(t, err, "f.yaml: mutate/test at spec: json: unsupported type")
}
