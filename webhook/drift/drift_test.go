// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func installed(t *testing.T) *Configurations {
	t.Helper()
	data, err := os.ReadFile("../../deploy/webhooks.yaml")
	require.NoError(t, err)
	c, err := Parse(data)
	require.NoError(t, err)
	return c
}

// TestCompare (R30): whatever somebody can change to switch the gate off is a difference.
func TestCompare(t *testing.T) {
	edits := map[string]struct {
		edit func(*Configurations)
		want string
	}{
		"nothing": {func(*Configurations) {}, ""},
		"what is written at run time": {func(c *Configurations) {
			c.Validating.Webhooks[0].ClientConfig.CABundle = []byte("ca")
			route := &c.Mutating.Webhooks[1]
			route.MatchConditions = append(route.MatchConditions, admissionregistrationv1.MatchCondition{Name: "needed", Expression: "true"})
			c.Validating.Labels, c.Validating.Annotations = nil, map[string]string{"a": "b"}
		}, ""},
		"validating missing": {func(c *Configurations) { c.Validating = nil }, "ValidatingWebhookConfiguration sallyport is missing"},
		"mutating missing":   {func(c *Configurations) { c.Mutating = nil }, "MutatingWebhookConfiguration sallyport is missing"},
		"policy missing":     {func(c *Configurations) { c.Policy = nil }, "ValidatingAdmissionPolicy sallyport-break-glass-outage is missing"},
		"binding missing":    {func(c *Configurations) { c.Binding = nil }, "ValidatingAdmissionPolicyBinding sallyport-break-glass-outage is missing"},
		"webhook missing":    {func(c *Configurations) { c.Validating.Webhooks = nil }, "webhook validate.sallyport.dev is missing"},
		"webhook renamed":    {func(c *Configurations) { c.Validating.Webhooks[0].Name = "a.b.c" }, "webhook a.b.c should not be there"},
		"failurePolicy": {func(c *Configurations) {
			c.Validating.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore)
		}, `webhook validate.sallyport.dev: failurePolicy is "Ignore", should be "Fail"`},
		"matchPolicy":       {func(c *Configurations) { c.Validating.Webhooks[0].MatchPolicy = new(admissionregistrationv1.Exact) }, `matchPolicy is "Exact"`},
		"namespaceSelector": {func(c *Configurations) { c.Validating.Webhooks[0].NamespaceSelector = selectorOf("a") }, "namespaceSelector is {"},
		"objectSelector":    {func(c *Configurations) { c.Validating.Webhooks[0].ObjectSelector = selectorOf("a") }, "objectSelector is {"},
		"rules":             {func(c *Configurations) { c.Validating.Webhooks[0].Rules = c.Validating.Webhooks[0].Rules[:1] }, "rules is ["},
		"operations": {func(c *Configurations) {
			c.Validating.Webhooks[0].Rules[0].Operations = c.Validating.Webhooks[0].Rules[0].Operations[:1]
		}, "rules is ["},
		"scope": {func(c *Configurations) {
			c.Validating.Webhooks[0].Rules[0].Scope = new(admissionregistrationv1.ClusterScope)
		}, "rules is ["},
		"condition added": {func(c *Configurations) {
			w := &c.Validating.Webhooks[0]
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, `"never"`},
		"condition by the name of ours": {func(c *Configurations) {
			w := &c.Validating.Webhooks[0]
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "needed", Expression: "true"})
		}, `"needed"`},
		"condition of ours changed": {func(c *Configurations) {
			w := &c.Mutating.Webhooks[1]
			w.MatchConditions = append(w.MatchConditions, admissionregistrationv1.MatchCondition{Name: "needed", Expression: "false"})
		}, `"needed"`},
		"condition removed": {func(c *Configurations) { c.Validating.Webhooks[0].MatchConditions = nil }, "matchConditions is nothing"},
		"timeoutSeconds":    {func(c *Configurations) { c.Validating.Webhooks[0].TimeoutSeconds = new(int32(30)) }, "timeoutSeconds is 30, should be 3"},
		"sideEffects": {func(c *Configurations) {
			c.Validating.Webhooks[0].SideEffects = new(admissionregistrationv1.SideEffectClassNoneOnDryRun)
		}, "sideEffects is"},
		"versions":        {func(c *Configurations) { c.Validating.Webhooks[0].AdmissionReviewVersions = []string{"v2"} }, "admissionReviewVersions is"},
		"another Service": {func(c *Configurations) { c.Validating.Webhooks[0].ClientConfig.Service.Name = "mine" }, "clientConfig is"},
		"another URL": {func(c *Configurations) {
			c.Validating.Webhooks[0].ClientConfig = admissionregistrationv1.WebhookClientConfig{URL: new("https://a")}
		}, "clientConfig is"},
		"reinvocationPolicy": {func(c *Configurations) {
			c.Mutating.Webhooks[0].ReinvocationPolicy = new(admissionregistrationv1.NeverReinvocationPolicy)
		}, "mutate.sallyport.dev: reinvocationPolicy is"},
		"policy's spec":  {func(c *Configurations) { c.Policy.Spec.MatchConditions = nil }, "ValidatingAdmissionPolicy sallyport-break-glass-outage: spec is"},
		"binding's spec": {func(c *Configurations) { c.Binding.Spec.ValidationActions = nil }, "ValidatingAdmissionPolicyBinding sallyport-break-glass-outage: spec is"},
	}
	for name, tt := range edits {
		t.Run(name, func(t *testing.T) {
			is, want := installed(t), installed(t)
			tt.edit(is)
			var said []string
			for _, d := range Compare(is, want) {
				said = append(said, d.String())
				require.Contains(t, Fields()[d.Kind], d.Field)
			}
			require.Equal(t, installed(t), want, "it is only read")
			if tt.want == "" {
				require.Empty(t, said)
				return
			}
			require.Contains(t, strings.Join(said, "\n"), tt.want)
		})
	}
}

// TestGroups (R14): what the cluster needs to start is never asked about.
func TestGroups(t *testing.T) {
	c := installed(t)
	var rules []admissionregistrationv1.RuleWithOperations
	for _, w := range c.Validating.Webhooks {
		rules = append(rules, w.Rules...)
	}
	for _, w := range c.Mutating.Webhooks {
		rules = append(rules, w.Rules...)
	}
	for _, r := range c.Policy.Spec.MatchConstraints.ResourceRules {
		rules = append(rules, r.RuleWithOperations)
	}
	require.NotEmpty(t, rules)
	for _, r := range rules {
		for _, group := range r.APIGroups {
			require.Contains(t, []string{"networking.istio.io", "security.istio.io"}, group)
		}
		for _, resource := range r.Resources {
			require.NotContains(t, resource, "*")
			require.NotContains(t, resource, "/")
		}
	}
}

// TestDefaults: what a manifest leaves out is what the API server fills in.
func TestDefaults(t *testing.T) {
	is, want := installed(t), installed(t)
	for _, c := range []*Configurations{is, want} {
		w := &c.Validating.Webhooks[0]
		w.TimeoutSeconds, w.FailurePolicy = new(int32(10)), new(admissionregistrationv1.Fail)
		w.NamespaceSelector = &metav1.LabelSelector{}
	}
	w := &want.Validating.Webhooks[0]
	w.TimeoutSeconds, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector = nil, nil, nil, nil, nil
	w.ClientConfig.Service.Port = nil
	require.Empty(t, Compare(is, want))
}

func TestFields(t *testing.T) {
	for kind, fields := range Fields() {
		require.NotContains(t, fields, "", kind)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(fields))), len(fields), kind)
	}
	require.Contains(t, Fields()[kindMutating], "reinvocationPolicy")
}

func TestParse(t *testing.T) {
	for text, problem := range map[string]string{
		"":                "there is no ValidatingWebhookConfiguration",
		"kind: ConfigMap": `"ConfigMap" is no configuration of webhooks`,
		"{":               "document 1: ",
		"kind: ValidatingWebhookConfiguration\nwebhoks: []":                                             "unknown field",
		"kind: ValidatingWebhookConfiguration\n---\nkind: ValidatingWebhookConfiguration\nwebhooks: []": "document 2: another ValidatingWebhookConfiguration",
	} {
		_, err := Parse([]byte(text))
		require.ErrorContains(t, err, problem, text)
	}
}

func selectorOf(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"name": name}}
}
