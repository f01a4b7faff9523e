// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// TestCorpus takes the cases of all rules through the real API server: it admits
// what a rule allows, and refuses what a rule denies, for the same fields. That
// also shows that Istio's CRDs take the cases. Cases with a policy or a
// configuration of their own are left to the engine's tests: the server here
// has the built-in ones.
func TestCorpus(t *testing.T) {
	config := rest.CopyConfig(controlPlane.Config)
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	ns := newNamespace(t)
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	taken := 0
	for _, rule := range rules.All {
		file := path.Join(path.Dir(rule.Name), "testdata", strings.ReplaceAll(path.Base(rule.Name), "-", "_")+".txtar")
		archive, err := rules.Cases.ReadFile(file)
		require.NoError(t, err)
		cases, err := analysistest.Load(rule.Name, archive, "allow", "deny")
		require.NoError(t, err)
		for _, c := range cases {
			if c.PolicyData != nil || c.ConfigData != nil || c.Old != nil {
				continue
			}
			taken++
			t.Run(c.String(), func(t *testing.T) { takeCase(t, client, suite, c, ns) })
		}
	}
	require.Greater(t, taken, 30)
}

func takeCase(t *testing.T, client dynamic.Interface, suite *analysis.Suite, c *analysistest.Case, namespace string) {
	var want []string
	res := analysis.Check(suite, c.Input())
	for _, f := range res.Findings {
		if f.Verdict.Action == policy.Deny {
			want = append(want, f.Field+" "+f.Rule.Name)
		}
	}
	object := new(unstructured.Unstructured)
	require.NoError(t, json.Unmarshal(c.Document.Raw, &object.Object))
	object.SetNamespace(namespace)
	gvr := c.Document.GVK.GroupVersion().WithResource(c.Document.Kind.Resource)
	_, err := client.Resource(gvr).Namespace(namespace).Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if len(want) == 0 {
		require.NoError(t, err)
		return
	}
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	var got []string
	for _, cause := range err.(apierrors.APIStatus).Status().Details.Causes {
		rule := cause.Message[strings.LastIndex(cause.Message, "(")+1 : len(cause.Message)-1]
		got = append(got, cause.Field+" "+rule)
	}
	require.Equal(t, want, got, "%v", err)
}
