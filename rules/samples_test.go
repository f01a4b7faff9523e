// SPDX-License-Identifier: Apache-2.0

package rules_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const labelsOfNamespaces = `
apiVersion: v1
kind: Namespace
metadata: {name: payments, labels: {team: payments}}
`

func sampleEntry(namespace, name, host, more string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s, namespace: %s}
spec:
  hosts: [%q]
  exportTo: [.]
%s
  ports: [{number: 443, name: tls, protocol: TLS}]
`, name, namespace, host, more)
}

// TestSamplePolicies: the policies that are shipped as samples do what their
// comments say.
func TestSamplePolicies(t *testing.T) {
	const dns = "  resolution: DNS"
	before := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	after := time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		object string
		now    time.Time
		want   string
	}{
		{"what would deny warns", sampleEntry("shop", "a", "db.example.com", "  resolution: STATIC"), after, "Warn serviceentry/static-endpoints"},
		{"what is off stays off", sampleEntry("shop", "a", "api.example.com", dns), after, ""},
		{"until its day a rule warns", sampleEntry("shop", "a", "*.example.com", ""), before, "Warn serviceentry/wildcard-host"},
		{"on its day it denies", sampleEntry("shop", "a", "*.example.com", ""), after, "Deny serviceentry/wildcard-host"},
		{"metadata is denied from the first day", sampleEntry("shop", "a", "metadata.google.internal", dns), before, "Deny serviceentry/metadata-address"},
		{"an exact host is fine", sampleEntry("shop", "a", "api.example.com", dns), before, ""},

		{"a listed host is fine", sampleEntry("payments", "a", "api.acquirer.example.com", dns), before, ""},
		{"below a listed wildcard", sampleEntry("payments", "a", "eu.fraud-check.example.net", dns), before, ""},
		{"an unlisted host", sampleEntry("payments", "a", "api.example.com", dns), before, "Deny serviceentry/allowed-host"},
		{"a denied host", sampleEntry("payments", "a", "sandbox.fraud-check.example.net", dns), before, "Deny serviceentry/allowed-host"},
		{"another port", strings.Replace(sampleEntry("payments", "a", "api.acquirer.example.com", dns), "443", "8443", 1), before, "Deny serviceentry/allowed-host"},
		{"a denied port", strings.Replace(sampleEntry("payments", "a", "rates.example.org", dns), "number: 443", "number: 443, targetPort: 22", 1), before, "Deny serviceentry/port"},
		{"the strictest action holds", sampleEntry("payments", "a", "rates.example.org", ""), before, "Deny serviceentry/unresolved-host"},
		{"an exclusive host elsewhere", sampleEntry("shop", "a", "api.acquirer.example.com", dns), before, "Warn serviceentry/host-owner"},

		{"the exempted wildcard", sampleEntry("warehouse", "suppliers", "*.suppliers.example.com", ""), time.Date(2027, 3, 30, 0, 0, 0, 0, time.UTC), "Audit serviceentry/wildcard-host"},
		{"after its end", sampleEntry("warehouse", "suppliers", "*.suppliers.example.com", ""), after, "Deny serviceentry/wildcard-host"},
		{"another object", sampleEntry("warehouse", "others", "*.suppliers.example.com", ""), time.Date(2027, 3, 30, 0, 0, 0, 0, time.UTC), "Deny serviceentry/wildcard-host"},
		{"another host", sampleEntry("warehouse", "suppliers", "*.example.com", ""), time.Date(2027, 3, 30, 0, 0, 0, 0, time.UTC), "Deny serviceentry/wildcard-host"},
	}
	policyFor := samplePolicies(t)
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			linter := lint.New(lint.Options{
				Suite: suite, Mutators: rules.Mutators, Config: config.Default(), Namespace: "default", Complete: true, Now: tt.now, PolicyFor: policyFor,
			})
			for doc, err := range manifest.Documents("sample.yaml", strings.NewReader(tt.object)) {
				require.NoError(t, err)
				linter.Add(doc)
			}
			var got []string
			for _, f := range linter.Report().Findings {
				got = append(got, string(f.Verdict.Action)+" "+f.Rule.Name)
			}
			if tt.want == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, tt.want)
		})
	}
}

// TestStartInWarn: under the first policy that somebody applies nothing denies but one
// rule, however grave a finding is, and no rule is on that would be off.
func TestStartInWarn(t *testing.T) {
	pol := samplePolicies(t)("shop")
	const named = 4
	require.Len(t, pol.Rules, named)
	today := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, r := range rules.All {
		action, _ := pol.Action(r.Name, policy.Deny, today)
		if r.Name == "serviceentry/metadata-address" {
			require.Equal(t, policy.Deny, action)
			continue
		}
		require.Equal(t, policy.Warn, action, r.Name)
		if _, ok := pol.Rules[r.Name]; !ok {
			action, _ = pol.Action(r.Name, policy.Off, today)
			require.Equal(t, policy.Off, action, r.Name)
		}
	}
}

func samplePolicies(t *testing.T) func(namespace string) *policy.Policy {
	t.Helper()
	var documents policy.Documents
	files, err := filepath.Glob("../deploy/samples/policies/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, documents.Parse(file, data))
	}
	require.NoError(t, documents.Parse("namespaces", []byte(labelsOfNamespaces)))
	policyFor, err := documents.Compile()
	require.NoError(t, err)
	return policyFor
}
