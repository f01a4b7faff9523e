// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// everything is a policy that uses every field.
const everything = `apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: default}
spec:
  namespaceSelector: {}
  priority: 7
  existingViolations: Deny
  rules:
  - name: serviceentry/unresolved-host
    action: Deny
    enforceFrom: "2027-01-01T00:00:00Z"
  - {name: serviceentry/open-proxy, action: Audit}
  otherRules: {maxAction: Warn, enforceFrom: "2027-02-01T00:00:00Z"}
  hosts:
    unlisted: Deny
    allowed:
    - host: api.github.com
    - host: "*.stripe.com"
      ports: [8443, 443]
      direct: true
      exclusive: true
    denied:
    - host: "*.pastebin.com"
  addresses: {allowed: [203.0.113.0/24, "2001:db8::/48"]}
  ports: {allowed: [443, 80], denied: [25, 22]}
  limits: {minWildcardLabels: 3, maxRetryAttempts: 4, maxTimeout: 60s, maxPrefixIPv4: 24, maxPrefixIPv6: 64}
  defaults:
    timeout: 15s
    retries: {attempts: 2, retryOn: "gateway-error,503", perTryTimeout: 2500ms}
    exportTo: ["."]
  gateway: {mode: Inject, name: other}
  waypoint: {mode: Require, name: istio-egress/other}
`

func parse(t *testing.T, files ...string) *Documents {
	t.Helper()
	docs := new(Documents)
	for _, f := range files {
		require.NoError(t, docs.Parse("policy.yaml", []byte(f)))
	}
	return docs
}

func TestEveryFieldArrives(t *testing.T) {
	policyFor, err := parse(t, everything).Compile()
	require.NoError(t, err)
	require.Equal(t, &Policy{
		Sources: []string{"default"},
		Rules: map[string]RuleSetting{
			"serviceentry/unresolved-host": {Action: Deny, EnforceFrom: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
			"serviceentry/open-proxy":      {Action: Audit},
		},
		OtherRules:         Cap{MaxAction: Warn, EnforceFrom: new(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC))},
		ExistingViolations: DenyExisting,
		Unlisted:           DenyUnlisted,
		AllowedHosts: []AllowedHost{
			{Host: "*.stripe.com", Ports: []uint32{443, 8443}, Direct: true, Exclusive: true},
			{Host: "api.github.com"},
		},
		DeniedHosts:      []string{"*.pastebin.com"},
		AllowedAddresses: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/48")},
		AllowedPorts:     []uint32{80, 443},
		DeniedPorts:      []uint32{22, 25},
		Limits:           Limits{MinWildcardLabels: 3, MaxRetryAttempts: 4, MaxTimeout: time.Minute, MaxPrefixIPv4: 24, MaxPrefixIPv6: 64},
		Defaults: Defaults{
			Timeout:  new(15 * time.Second),
			Retries:  &Retries{Attempts: 2, RetryOn: "gateway-error,503", PerTryTimeout: new(2500 * time.Millisecond)},
			ExportTo: []string{"."},
		},
		Gateway:  Route{Mode: ModeInject, Name: "other"},
		Waypoint: Route{Mode: ModeRequire, Name: "istio-egress/other"},
	}, policyFor("shop"))
}

func TestParse(t *testing.T) {
	docs := parse(t, `# A comment alone is no document.
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: paid}}
---
# Nor is this one.
---
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: paid}
spec: {namespaceSelector: {matchLabels: {tier: paid}}, hosts: {unlisted: Deny}}
`, `{"apiVersion": "policy.sallyport.dev/v1alpha1", "kind": "EgressExemption", "metadata": {"name": "x"},
 "spec": {"rules": ["serviceentry/open-proxy"], "namespace": "shop", "kind": "ServiceEntry", "expiresAt": "2027-01-01T00:00:00Z", "reason": "r"}}`)
	require.Len(t, docs.Policies, 1)
	require.Len(t, docs.Exemptions, 1)
	require.Len(t, docs.Namespaces, 1)

	policyFor, err := docs.Compile()
	require.NoError(t, err)
	require.Equal(t, DenyUnlisted, policyFor("shop").Unlisted, "selected by the label in its Namespace document")
	require.Len(t, policyFor("shop").Exemptions, 1)
	require.Equal(t, Default(), policyFor("other"), "not selected, not exempted")
}

func TestParseErrors(t *testing.T) {
	const head = "apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: a}\n"
	tests := []struct {
		name, file, want string
	}{
		{"an unknown field", head + "spec: {namespaceSelector: {}, limit: {}}", `policy.yaml: document 1: .*unknown field "spec.limit"`},
		{"a field in other letters", head + "spec: {namespaceselector: {}}", `unknown field "spec.namespaceselector"`},
		{"a field that stands twice", head + "spec:\n  priority: 1\n  priority: 2", `(?s)policy.yaml: document 1: .*"priority" already set`},
		{"the second document", head + "spec: {namespaceSelector: {}}\n---\n" + head + "spec: {x: 1}", `policy.yaml: document 2: .*"spec.x"`},
		{"a duration that is none", head + "spec: {namespaceSelector: {}, defaults: {timeout: soon}}", `policy.yaml: document 1: .*"soon"`},
		{"a duration without a unit", head + "spec: {namespaceSelector: {}, defaults: {timeout: 15}}", `policy.yaml: document 1: `},
		{"a time that is none", head + "spec: {namespaceSelector: {}, rules: [{name: serviceentry/open-proxy, action: Deny, enforceFrom: tomorrow}]}", `policy.yaml: document 1: .*"tomorrow"`},
		{"an action without quotation marks", head + "spec: {namespaceSelector: {}, rules: [{name: serviceentry/open-proxy, action: Off}]}", `policy.yaml: document 1: .*write "Off" in quotation marks`},
		{"an unknown field of the cap", head + "spec: {namespaceSelector: {}, otherRules: {maxAction: Warn, action: Warn}}", `policy.yaml: document 1: .*unknown field "spec.otherRules.action"`},
		{"a cap's time that is none", head + "spec: {namespaceSelector: {}, otherRules: {maxAction: Warn, enforceFrom: 2027-01-01}}", `policy.yaml: document 1: .*"2027-01-01"`},
		{"a cap that is no string", head + "spec: {namespaceSelector: {}, otherRules: {maxAction: Off}}", `policy.yaml: document 1: .*maxAction: must be Warn or Audit, not false`},
		{"a cap that is a number", head + "spec: {namespaceSelector: {}, otherRules: {maxAction: 1}}", `policy.yaml: document 1: .*number`},
		{"a mode without quotation marks", head + "spec: {namespaceSelector: {}, gateway: {mode: off}}", `policy.yaml: document 1: .*write "Off" in quotation marks`},
		{"a mode that is no string", head + "spec: {namespaceSelector: {}, gateway: {mode: 1}}", `policy.yaml: document 1: .*number`},
		{"another kind", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}", `policy.yaml: document 1: a Secret is no policy: want EgressPolicy, EgressExemption or Namespace`},
		{"another group", "apiVersion: example.com/v1\nkind: EgressPolicy", `policy.yaml: document 1: `},
		{"no object", "just text", `policy.yaml: document 1: `},
		{"no YAML", "a: [", `policy.yaml: document 1: `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := new(Documents).Parse("policy.yaml", []byte(tt.file))
			require.Error(t, err)
			require.Regexp(t, tt.want, err.Error())
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var docs Documents
		if docs.Parse("policy.yaml", data) != nil {
			return
		}
		policyFor, err := docs.Compile()
		require.True(t, (policyFor == nil) == (err != nil))
		if err == nil {
			require.NotNil(t, policyFor("shop"))
		}
	})
}
