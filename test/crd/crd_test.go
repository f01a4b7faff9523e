// SPDX-License-Identifier: Apache-2.0

// Package crd tests that the API server itself refuses EgressPolicies and
// EgressExemptions that are not valid, and takes those that are.
package crd

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/test/cluster"
)

const (
	policyHead    = "apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: test}\nspec:\n  namespaceSelector: {}\n"
	exemptionHead = "apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressExemption\nmetadata: {name: test}\nspec:\n"
	exemption     = "  rules: [serviceentry/wildcard-host]\n  namespace: shop\n  kind: ServiceEntry\n  expiresAt: \"2027-01-01T00:00:00Z\"\n  reason: moving\n"
)

// validations are pairs of what the API server takes and what it refuses, with a
// part of its message. The Go code, which reads files, must agree with it.
var validations = []struct {
	name, accepted, refused, says string
}{
	{"host", policyHead + "  hosts: {allowed: [{host: api.example.com}]}", policyHead + "  hosts: {allowed: [{host: API.example.com}]}", "must be a host name in lower case"},
	{"trailing dot", policyHead + "  hosts: {allowed: [{host: a-1.example.com}]}", policyHead + "  hosts: {allowed: [{host: a.example.com.}]}", "without a trailing dot"},
	{"punycode", policyHead + "  hosts: {allowed: [{host: xn--bcher-kva.example.com}]}", policyHead + "  hosts: {allowed: [{host: bücher.example.com}]}", "begin with xn--"},
	{"wildcard", policyHead + "  hosts: {allowed: [{host: '*.example.com'}]}", policyHead + "  hosts: {allowed: [{host: '*example.com'}]}", "must be a host name"},
	{"one wildcard", policyHead + "  hosts: {denied: [{host: '*.example.com'}]}", policyHead + "  hosts: {denied: [{host: '*.*.example.com'}]}", "must be a host name"},
	{"bare wildcard", policyHead + "  hosts: {denied: [{host: com}]}", policyHead + "  hosts: {denied: [{host: '*'}]}", "must be a host name"},
	{"empty label", policyHead + "  hosts: {denied: [{host: a.b}]}", policyHead + "  hosts: {denied: [{host: a..b}]}", "must be a host name"},
	{"length of a host", policyHead + "  hosts: {denied: [{host: " + strings.Repeat("a.", 126) + "a}]}", policyHead + "  hosts: {denied: [{host: " + strings.Repeat("a.", 126) + "aa}]}", "253"},
	{"host twice", policyHead + "  hosts: {denied: [{host: a.b}, {host: b.b}]}", policyHead + "  hosts: {denied: [{host: a.b}, {host: a.b}]}", "Duplicate"},
	{"ports of a host", policyHead + "  hosts: {allowed: [{host: a.b, ports: [1, 65535]}]}", policyHead + "  hosts: {allowed: [{host: a.b, ports: [65536]}]}", "65535"},
	{"rule name", policyHead + "  rules: [{name: serviceentry/wildcard-host, action: Warn}]", policyHead + "  rules: [{name: serviceentry/wildcard-hosts, action: Warn}]", "Unsupported value"},
	{"rule twice", policyHead + "  rules: [{name: serviceentry/port, action: Warn}]", policyHead + "  rules: [{name: serviceentry/port, action: Warn}, {name: serviceentry/port, action: Deny}]", "Duplicate"},
	{"action", policyHead + "  rules: [{name: serviceentry/port, action: \"Off\"}]", policyHead + "  rules: [{name: serviceentry/port, action: Refuse}]", "Unsupported value"},
	{"enforceFrom", policyHead + "  rules: [{name: serviceentry/port, action: Deny, enforceFrom: \"2027-01-01T00:00:00Z\"}]", policyHead + "  rules: [{name: serviceentry/port, action: Warn, enforceFrom: \"2027-01-01T00:00:00Z\"}]", "enforceFrom may only be set with action Deny"},
	{"cap", policyHead + "  otherRules: {maxAction: Warn}", policyHead + "  otherRules: {maxAction: Deny}", "Unsupported value"},
	{"cap with a day", policyHead + "  otherRules: {maxAction: Audit, enforceFrom: \"2027-01-01T00:00:00Z\"}", policyHead + "  otherRules: {maxAction: Audit, enforceFrom: \"2027-01-01\"}", "enforceFrom"},
	{"cap at nothing", policyHead + "  otherRules: {maxAction: \"Audit\"}", policyHead + "  otherRules: {maxAction: \"Off\"}", "Unsupported value"},
	{"cap that YAML takes for false", policyHead + "  otherRules: {maxAction: Audit}", policyHead + "  otherRules: {maxAction: Off}", "maxAction"},
	{"empty cap", policyHead, policyHead + "  otherRules: {}", "Required value"},
	{"day without a cap", policyHead + "  otherRules: {enforceFrom: \"0001-01-01T00:00:00Z\", maxAction: Warn}", policyHead + "  otherRules: {enforceFrom: \"2027-01-01T00:00:00Z\"}", "Required value"},
	{"unknown field of the cap", policyHead + "  otherRules: {maxAction: Warn}", policyHead + "  otherRules: {maxAction: Warn, action: Warn}", "unknown field"},
	{"existing violations", policyHead + "  existingViolations: Deny", policyHead + "  existingViolations: Warn", "Unsupported value"},
	{"unlisted", policyHead + "  hosts: {unlisted: Deny}", policyHead + "  hosts: {unlisted: Warn}", "Unsupported value"},
	{"range", policyHead + "  addresses: {allowed: [203.0.113.0/24, '2001:db8::/48']}", policyHead + "  addresses: {allowed: [203.0.113.0]}", "must be a range such as"},
	{"bits after the prefix", policyHead + "  addresses: {allowed: [203.0.113.7/32]}", policyHead + "  addresses: {allowed: [203.0.113.7/24]}", "without bits after the prefix"},
	{"mapped range", policyHead + "  addresses: {allowed: ['2001:db8::7/128']}", policyHead + "  addresses: {allowed: ['::ffff:203.0.113.0/120']}", "must be a range such as"},
	{"port", policyHead + "  ports: {denied: [22], allowed: [443]}", policyHead + "  ports: {denied: [0]}", "greater than or equal to 1"},
	{"limits", policyHead + "  limits: {minWildcardLabels: 1, maxRetryAttempts: 0, maxPrefixIPv4: 32, maxPrefixIPv6: 128}", policyHead + "  limits: {maxPrefixIPv4: 33}", "32"},
	{"least labels", policyHead + "  limits: {minWildcardLabels: 10}", policyHead + "  limits: {minWildcardLabels: 0}", "greater than or equal to 1"},
	{"duration", policyHead + "  limits: {maxTimeout: 1m30s}", policyHead + "  limits: {maxTimeout: 5}", "string"},
	{"no duration", policyHead + "  defaults: {timeout: 1ms}", policyHead + "  defaults: {timeout: 0s}", "must be at least one millisecond"},
	{"long duration", policyHead + "  defaults: {timeout: 24h}", policyHead + "  defaults: {timeout: 24h1s}", "no more than a day"},
	{"parts of a millisecond", policyHead + "  defaults: {timeout: 0.001s}", policyHead + "  defaults: {timeout: 0.5ms}", "should match"},
	{"negative duration", policyHead + "  defaults: {retries: {attempts: 1, perTryTimeout: 2s}}", policyHead + "  defaults: {retries: {attempts: 1, perTryTimeout: -2s}}", "should match"},
	{"attempts", policyHead + "  defaults: {retries: {attempts: 1}}", policyHead + "  defaults: {retries: {attempts: 0}}", "greater than or equal to 1"},
	{"conditions", policyHead + "  defaults: {retries: {attempts: 1, retryOn: \"5xx,reset,503\"}}", policyHead + "  defaults: {retries: {attempts: 1, retryOn: \"5xx, reset\"}}", "must be conditions of Istio's retryOn"},
	{"status codes", policyHead + "  defaults: {retries: {attempts: 1, retryOn: \"429\"}}", policyHead + "  defaults: {retries: {attempts: 1, retryOn: \"200\"}}", "must be conditions"},
	{"exportTo", policyHead + "  defaults: {exportTo: [., istio-egress]}", policyHead + "  defaults: {exportTo: [\"~\"]}", "must be '.', '*' or a namespace"},
	{"exportTo all", policyHead + "  defaults: {exportTo: [\"*\"]}", policyHead + "  defaults: {exportTo: [\"*\", a]}", "must stand alone"},
	{"gateway", policyHead + "  gateway: {mode: Require, name: default}", policyHead + "  gateway: {mode: Require, name: istio-egress/egress}", "name must be that of a gateway"},
	{"mode", policyHead + "  gateway: {mode: \"Off\"}", policyHead + "  gateway: {mode: Must}", "Unsupported value"},
	{"waypoint", policyHead + "  waypoint: {mode: Inject, name: istio-egress/waypoint}", policyHead + "  waypoint: {mode: Inject, name: waypoint}", "namespace/name"},
	{"selector", policyHead, "apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: test}\nspec: {}", "Required value"},
	{"unknown field", policyHead + "  priority: 7", policyHead + "  prioritys: 7", "unknown field"},

	{"exemption", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "  reason: moving\n", "", 1), "reason"},
	{"empty reason", exemptionHead + exemption + "  ticket: NET-1\n  approvedBy: [alice@example.com]\n", exemptionHead + strings.Replace(exemption, "moving", "''", 1), "reason"},
	{"expiry", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "\"2027-01-01T00:00:00Z\"", "tomorrow", 1), "expiresAt"},
	{"rules of an exemption", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "wildcard-host", "all", 1), "Unsupported value"},
	{"no rules", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "[serviceentry/wildcard-host]", "[]", 1), "rules"},
	{"kind of an exemption", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "kind: ServiceEntry", "kind: serviceentries", 1), "Unsupported value"},
	{"namespace of an exemption", exemptionHead + exemption, exemptionHead + strings.Replace(exemption, "shop", "'*'", 1), "must be the name of a namespace"},
	{"hosts of an exemption", exemptionHead + exemption + "  hosts: ['*.example.com', '*-api.example.com']\n", exemptionHead + exemption + "  hosts: ['*.Example.com']\n", "must be in lower case"},
}

func TestValidations(t *testing.T) {
	c := start(t)
	for _, tt := range validations {
		t.Run(tt.name, func(t *testing.T) {
			out := c.kubectl(t, tt.accepted, "create", "--dry-run=server", "-f", "-")
			require.NoError(t, out.err, out.stderr)
			require.NoError(t, readFile(tt.accepted))

			out = c.kubectl(t, tt.refused, "create", "--dry-run=server", "-f", "-")
			require.Error(t, out.err, out.stdout)
			require.Contains(t, out.stderr, tt.says)
			require.Error(t, readFile(tt.refused), "files are read in the same way")
		})
	}

	t.Run("an exemption cannot be extended", func(t *testing.T) {
		out := c.kubectl(t, exemptionHead+exemption, "create", "-f", "-")
		require.NoError(t, out.err, out.stderr)
		out = c.kubectl(t, exemptionHead+strings.Replace(exemption, "2027", "2028", 1), "apply", "-f", "-")
		require.Error(t, out.err)
		require.Contains(t, out.stderr, "must not be changed; make a new EgressExemption")
		out = c.kubectl(t, "", "annotate", "egx", "test", "note=seen")
		require.NoError(t, out.err, "its metadata may change")
		out = c.kubectl(t, "", "get", "egx")
		require.Regexp(t, `NAME +NAMESPACE +KIND +EXPIRES +TICKET`, out.stdout)
		require.Regexp(t, `test +shop +ServiceEntry +2027-01-01T00:00:00Z`, out.stdout)
	})

	t.Run("the samples", func(t *testing.T) {
		out := c.kubectl(t, "", "apply", "--dry-run=server", "-f", filepath.Join(cluster.Root(), "deploy", "samples", "policies"))
		require.NoError(t, out.err, out.stderr)
		require.Equal(t, 4, strings.Count(out.stdout, "created"))
	})

	t.Run("two managers share a list", func(t *testing.T) {
		for manager, host := range map[string]string{"a": "a.example.com", "b": "b.example.com"} {
			out := c.kubectl(t, policyHead+"  hosts: {allowed: [{host: "+host+"}]}", "apply", "--server-side", "--field-manager="+manager, "-f", "-")
			require.NoError(t, out.err, out.stderr)
		}
		out := c.kubectl(t, "", "get", "egp", "test", "-o", "jsonpath={.spec.hosts.allowed[*].host}")
		require.ElementsMatch(t, []string{"a.example.com", "b.example.com"}, strings.Fields(out.stdout))
		out = c.kubectl(t, "", "get", "egp")
		require.Regexp(t, `NAME +PRIORITY +UNLISTED +GATEWAY +ACCEPTED +PROGRAMMED +NAMESPACES +AGE`, out.stdout)
	})

	t.Run("the status is written apart", func(t *testing.T) {
		out := c.kubectl(t, "", "patch", "egp", "test", "--subresource=status", "--type=merge", "-p", `{"status":{"observedGeneration":7},"spec":{"priority":9}}`)
		require.NoError(t, out.err, out.stderr)
		out = c.kubectl(t, "", "get", "egp", "test", "-o", "jsonpath={.status.observedGeneration} {.spec.priority}")
		require.Equal(t, "7 ", out.stdout)
	})
}

// readFile reads a document as the command line does.
func readFile(document string) error {
	var documents policy.Documents
	if err := documents.Parse("test.yaml", []byte(document)); err != nil {
		return err
	}
	_, err := documents.Compile()
	return err
}

type controlPlane struct{ *cluster.Cluster }

func start(t *testing.T) controlPlane {
	t.Helper()
	c, err := cluster.Start(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	return controlPlane{c}
}

type output struct {
	stdout, stderr string
	err            error
}

func (c controlPlane) kubectl(t *testing.T, stdin string, args ...string) output {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.Kubectl, append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return output{stdout.String(), stderr.String(), err}
}
