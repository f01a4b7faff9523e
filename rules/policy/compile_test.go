// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func egressPolicy(name, spec string) string {
	return fmt.Sprintf("apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: %s}\nspec: {%s}\n---\n", name, spec)
}

func exemption(name, spec string) string {
	return fmt.Sprintf("apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressExemption\nmetadata: {name: %s}\nspec: {%s}\n---\n", name, spec)
}

func TestInvalidPolicies(t *testing.T) {
	const all = "namespaceSelector: {}, "
	tests := []struct {
		name, spec, want string
	}{
		{"no selector", "priority: 1", "spec.namespaceSelector: "},
		{"a selector that is none", "namespaceSelector: {matchExpressions: [{key: a, operator: Maybe}]}", "spec.namespaceSelector: "},
		{"existing violations", all + "existingViolations: allow", `spec.existingViolations: invalid value "allow": must be one of ["Allow" "Deny"]`},
		{"an action", all + "rules: [{name: serviceentry/open-proxy, action: deny}]", `spec.rules[0].action: invalid value "deny"`},
		{"no action", all + "rules: [{name: serviceentry/open-proxy}]", "spec.rules[0].action: "},
		{"a rule's name", all + "rules: [{name: wildcard, action: Deny}]", `spec.rules[0].name: invalid value "wildcard"`},
		{"no rule's name", all + "rules: [{action: Deny}]", "spec.rules[0].name: "},
		{"a rule twice", all + "rules: [{name: serviceentry/open-proxy, action: Deny}, {name: serviceentry/open-proxy, action: Audit}]", `spec.rules[1].name: invalid value "serviceentry/open-proxy": must not stand twice`},
		{"a date without a denial", all + `rules: [{name: serviceentry/open-proxy, action: Warn, enforceFrom: "2027-01-01T00:00:00Z"}]`, `spec.rules[0].enforceFrom: invalid value "2027-01-01T00:00:00Z": may only be set with action Deny`},
		{"a cap that caps nothing", all + "otherRules: {}", "spec.otherRules.maxAction: invalid value \"\": must be set"},
		{"a day without a cap", all + `otherRules: {enforceFrom: "2027-01-01T00:00:00Z"}`, "spec.otherRules.maxAction: "},
		{"a cap as strict as can be", all + "otherRules: {maxAction: Deny}", `spec.otherRules.maxAction: invalid value "Deny": must be one of ["Warn" "Audit"]`},
		{"a cap at nothing", all + `otherRules: {maxAction: "Off"}`, `spec.otherRules.maxAction: invalid value "Off"`},
		{"unlisted hosts", all + "hosts: {unlisted: Block}", `spec.hosts.unlisted: invalid value "Block"`},
		{"an allowed host in capitals", all + "hosts: {allowed: [{host: a.example.com}, {host: API.example.com}]}", `spec.hosts.allowed[1].host: invalid value "API.example.com"`},
		{"an allowed host with a dot", all + "hosts: {allowed: [{host: api.example.com.}]}", "spec.hosts.allowed[0].host: "},
		{"an allowed partial wildcard", all + `hosts: {allowed: [{host: "*example.com"}]}`, "spec.hosts.allowed[0].host: "},
		{"everything allowed", all + `hosts: {allowed: [{host: "*"}]}`, "spec.hosts.allowed[0].host: "},
		{"an allowed URL", all + `hosts: {allowed: [{host: "https://example.com"}]}`, "spec.hosts.allowed[0].host: "},
		{"no allowed host", all + "hosts: {allowed: [{}]}", "spec.hosts.allowed[0].host: "},
		{"an allowed host twice", all + "hosts: {allowed: [{host: a.com}, {host: a.com, ports: [1]}]}", "spec.hosts.allowed[1].host: "},
		{"an allowed host's port", all + "hosts: {allowed: [{host: a.com, ports: [443, 70000]}]}", `spec.hosts.allowed[0].ports[1]: invalid value "70000"`},
		{"a denied host", all + "hosts: {denied: [{host: a b}]}", `spec.hosts.denied[0].host: invalid value "a b"`},
		{"a denied host twice", all + "hosts: {denied: [{host: a.com}, {host: a.com}]}", "spec.hosts.denied[1].host: "},
		{"an address that is no range", all + "addresses: {allowed: [203.0.113.0]}", `spec.addresses.allowed[0]: invalid value "203.0.113.0"`},
		{"a range with further bits", all + "addresses: {allowed: [203.0.113.9/24]}", "spec.addresses.allowed[0]: "},
		{"a range of IPv4 in IPv6", all + `addresses: {allowed: ["::ffff:203.0.113.0/120"]}`, "spec.addresses.allowed[0]: "},
		{"a port", all + "ports: {allowed: [0]}", `spec.ports.allowed[0]: invalid value "0": must be between 1 and 65535`},
		{"a denied port", all + "ports: {denied: [-1]}", "spec.ports.denied[0]: "},
		{"too few labels", all + "limits: {minWildcardLabels: 0}", "spec.limits.minWildcardLabels: "},
		{"fewer attempts than none", all + "limits: {maxRetryAttempts: -1}", "spec.limits.maxRetryAttempts: "},
		{"no time", all + "limits: {maxTimeout: 0s}", "spec.limits.maxTimeout: "},
		{"a prefix longer than an address", all + "limits: {maxPrefixIPv4: 33}", "spec.limits.maxPrefixIPv4: "},
		{"a prefix longer than an IPv6 address", all + "limits: {maxPrefixIPv6: 129}", "spec.limits.maxPrefixIPv6: "},
		{"a timeout that istiod refuses", all + "defaults: {timeout: 0s}", `spec.defaults.timeout: invalid value "0s"`},
		{"a timeout too exact for istiod", all + "defaults: {timeout: 1.0001s}", "spec.defaults.timeout: "},
		{"a timeout of days", all + "defaults: {timeout: 25h}", "spec.defaults.timeout: "},
		{"no retries", all + "defaults: {retries: {attempts: 0}}", "spec.defaults.retries.attempts: "},
		{"a blank between conditions", all + `defaults: {retries: {attempts: 1, retryOn: "5xx, reset"}}`, `spec.defaults.retries.retryOn: invalid value "5xx, reset"`},
		{"a condition that istiod does not know", all + "defaults: {retries: {attempts: 1, retryOn: retriable-methods}}", `"retriable-methods" is none`},
		{"a comma too many", all + `defaults: {retries: {attempts: 1, retryOn: "5xx,"}}`, "spec.defaults.retries.retryOn: "},
		{"no time for a try", all + "defaults: {retries: {attempts: 1, perTryTimeout: -1s}}", "spec.defaults.retries.perTryTimeout: "},
		{"exported to a namespace that is none", all + "defaults: {exportTo: [A]}", "spec.defaults.exportTo[0]: "},
		{"exported to nobody", all + `defaults: {exportTo: ["~"]}`, "spec.defaults.exportTo[0]: "},
		{"exported to all and one", all + `defaults: {exportTo: [".", "*"]}`, "spec.defaults.exportTo[1]: "},
		{"exported twice", all + "defaults: {exportTo: [a, a]}", "spec.defaults.exportTo[1]: "},
		{"no mode", all + "gateway: {name: default}", "spec.gateway.mode: "},
		{"a mode", all + "gateway: {mode: Always}", `spec.gateway.mode: invalid value "Always"`},
		{"a waypoint's mode", all + "waypoint: {mode: inject}", "spec.waypoint.mode: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docs := parse(t, egressPolicy("bad", tt.spec))
			set, err := Compile(docs.Policies, nil)
			require.ErrorContains(t, err, "EgressPolicy bad: ")
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, set)
		})
	}
}

func TestInvalidExemptions(t *testing.T) {
	const rest = `, namespace: a, kind: ServiceEntry, expiresAt: "2027-01-01T00:00:00Z", reason: r`
	tests := []struct {
		name, spec, want string
	}{
		{"nothing", "", "spec.rules: "},
		{"no namespace", `rules: [serviceentry/open-proxy], kind: ServiceEntry, expiresAt: "2027-01-01T00:00:00Z", reason: r`, "spec.namespace: "},
		{"no kind", `rules: [serviceentry/open-proxy], namespace: a, expiresAt: "2027-01-01T00:00:00Z", reason: r`, "spec.kind: "},
		{"no end", "rules: [serviceentry/open-proxy], namespace: a, kind: ServiceEntry, reason: r", "spec.expiresAt: "},
		{"no reason", `rules: [serviceentry/open-proxy], namespace: a, kind: ServiceEntry, expiresAt: "2027-01-01T00:00:00Z"`, "spec.reason: "},
		{"a rule's name", `rules: ["*"]` + rest, `spec.rules[0]: invalid value "*"`},
		{"a host in capitals", "rules: [serviceentry/open-proxy], hosts: [A.com]" + rest, `spec.hosts[0]: invalid value "A.com"`},
		{"an empty host", `rules: [serviceentry/open-proxy], hosts: [""]` + rest, "spec.hosts[0]: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docs := parse(t, exemption("bad", tt.spec))
			_, err := Compile(nil, docs.Exemptions)
			require.ErrorContains(t, err, "EgressExemption bad: ")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestAllErrorsAreTold(t *testing.T) {
	docs := parse(t,
		egressPolicy("one", "namespaceSelector: {}, limits: {minWildcardLabels: 0}, gateway: {mode: Always}"),
		egressPolicy("two", "namespaceSelector: {}, ports: {denied: [0]}"),
		egressPolicy("three", "namespaceSelector: {}"), egressPolicy("three", "namespaceSelector: {}"),
		exemption("four", ""), exemption("four", ""))
	_, err := docs.Compile()
	for _, want := range []string{
		"EgressPolicy one: ", "spec.limits.minWildcardLabels", "spec.gateway.mode", "EgressPolicy two: ", "spec.ports.denied[0]",
		"EgressPolicy three: there are two of that name", "EgressExemption four: there are two of that name",
	} {
		require.ErrorContains(t, err, want)
	}
}

// TestRetryConditions: what is taken is what istiod takes, of the statuses those
// of errors.
func TestRetryConditions(t *testing.T) {
	for status := range 1000 {
		want := status >= 400 && http.StatusText(status) != ""
		require.Equal(t, want, isRetryCondition(strconv.Itoa(status)), "status %d", status)
	}
	for c := range strings.SplitSeq(Default().Defaults.Retries.RetryOn, ",") {
		require.True(t, isRetryCondition(c), c)
	}
}
