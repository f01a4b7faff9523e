// SPDX-License-Identifier: Apache-2.0

package breakglass

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// TestTraceOfEveryBypass: the policy that leaves traces is about exactly the
// requests that the webhook is not asked about.
func TestTraceOfEveryBypass(t *testing.T) {
	documents := deployed(t)
	var policy admissionregistrationv1.ValidatingAdmissionPolicy
	require.NoError(t, yaml.UnmarshalStrict(documents[0], &policy))
	var webhooks admissionregistrationv1.ValidatingWebhookConfiguration
	require.NoError(t, yaml.UnmarshalStrict(documents[2], &webhooks))
	webhook := webhooks.Webhooks[0]

	asked := webhook.MatchConditions[len(webhook.MatchConditions)-1]
	require.Equal(t, "no-outage", asked.Name)
	require.Len(t, policy.Spec.MatchConditions, 1)
	require.Equal(t, "!("+asked.Expression+")", policy.Spec.MatchConditions[0].Expression)

	constraints := policy.Spec.MatchConstraints
	var rules []admissionregistrationv1.RuleWithOperations
	for _, r := range constraints.ResourceRules {
		require.Empty(t, r.ResourceNames)
		rules = append(rules, r.RuleWithOperations)
	}
	require.Equal(t, webhook.Rules, rules)
	require.Equal(t, webhook.MatchPolicy, constraints.MatchPolicy)
	require.Equal(t, webhook.NamespaceSelector, constraints.NamespaceSelector)
	require.Equal(t, webhook.ObjectSelector, constraints.ObjectSelector)
}

// testDeployed: the API server adds nothing to the policy and its binding, so
// that applying them twice changes nothing.
func (w *world) testDeployed(t *testing.T) {
	for i, kind := range []string{"validatingadmissionpolicy", "validatingadmissionpolicybinding"} {
		var want, stored struct{ Spec map[string]any }
		require.NoError(t, yaml.Unmarshal(deployed(t)[i], &want))
		got, _ := w.kubectl(t, "admin", "", "get", kind, "sallyport-break-glass-outage", "-o", "yaml")
		require.NoError(t, yaml.Unmarshal([]byte(got), &stored))
		require.Equal(t, want.Spec, stored.Spec)
	}
}

// deployed returns the documents of deploy/webhooks.yaml.
func deployed(t *testing.T) [][]byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root(), "deploy", "webhooks.yaml"))
	require.NoError(t, err)
	return bytes.Split(data, []byte("\n---\n"))
}
