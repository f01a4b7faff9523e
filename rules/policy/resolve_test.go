// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// effective returns the policy of a namespace with the label team=a, under
// policies with the given specs that select it by that label, named p0, p1 and
// so on.
func effective(t *testing.T, specs ...string) *Policy {
	t.Helper()
	docs := new(Documents)
	for i, spec := range specs {
		file := egressPolicy("p"+string(rune('0'+i)), "namespaceSelector: {matchLabels: {team: a}}, "+spec)
		require.NoError(t, docs.Parse("policy.yaml", []byte(file)))
	}
	set, err := Compile(docs.Policies, docs.Exemptions)
	require.NoError(t, err)
	return set.For("shop", map[string]string{"team": "a"})
}

func TestSelection(t *testing.T) {
	docs := parse(t,
		egressPolicy("all", "namespaceSelector: {}"),
		egressPolicy("paid", "namespaceSelector: {matchLabels: {tier: paid}}"),
		egressPolicy("shop", "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}"),
		egressPolicy("not-system", "namespaceSelector: {matchExpressions: [{key: system, operator: DoesNotExist}]}"))
	set, err := Compile(docs.Policies, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"all", "not-system"}, set.For("a", nil).Sources)
	require.Equal(t, []string{"all", "not-system", "paid"}, set.For("a", map[string]string{"tier": "paid"}).Sources)
	require.Equal(t, []string{"all", "not-system", "shop"}, set.For("shop", nil).Sources, "the API server's label need not be told")
	require.Equal(t, []string{"all"}, set.For("a", map[string]string{"system": ""}).Sources)
}

func TestNothingSaidIsTheBuiltIn(t *testing.T) {
	pol := effective(t, "priority: 1")
	want := *Default()
	want.Sources, want.Rules = []string{"p0"}, map[string]RuleSetting{}
	want.Defaults = Defaults{}
	require.Equal(t, &want, pol, "as built in, but that nothing is filled in")
}

func TestStrictestAction(t *testing.T) {
	const in2027, in2028 = `enforceFrom: "2027-01-01T00:00:00Z"`, `enforceFrom: "2028-01-01T00:00:00Z"`
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	then := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name, a, b string
		today      Action
		in2027     Action
	}{
		{"one says nothing", "action: Audit", "", Audit, Audit},
		{"off and audit", `action: "Off"`, "action: Audit", Audit, Audit},
		{"audit and warn", "action: Audit", "action: Warn", Warn, Warn},
		{"warn and deny", "action: Warn", "action: Deny", Deny, Deny},
		{"a later denial and a warning", "action: Deny, " + in2027, "action: Warn", Warn, Deny},
		{"a later denial and nothing", "action: Deny, " + in2027, `action: "Off"`, Warn, Deny},
		{"two later denials", "action: Deny, " + in2028, "action: Deny, " + in2027, Warn, Deny},
		{"a later denial and one that holds", "action: Deny, " + in2027, "action: Deny", Deny, Deny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules := func(setting string) string {
				if setting == "" {
					return "priority: 9"
				}
				return "rules: [{name: serviceentry/open-proxy, " + setting + "}]"
			}
			for _, pol := range []*Policy{effective(t, rules(tt.a), rules(tt.b)), effective(t, rules(tt.b), rules(tt.a))} {
				action, from := pol.Action("serviceentry/open-proxy", Off, now)
				require.Equal(t, tt.today, action)
				require.Equal(t, tt.today != tt.in2027, !from.IsZero(), "until when it warns is told")
				action, _ = pol.Action("serviceentry/open-proxy", Off, then)
				require.Equal(t, tt.in2027, action, "the denial begins at its time")
				action, _ = pol.Action("a/other", Warn, now)
				require.Equal(t, Warn, action, "not named: the rule's own")
			}
		})
	}
}

func TestCap(t *testing.T) {
	const in2027, in2028 = `enforceFrom: "2027-01-01T00:00:00Z"`, `enforceFrom: "2028-01-01T00:00:00Z"`
	const none = "priority: 9"
	other := func(limit string) string { return "otherRules: {" + limit + "}" }
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	tests := []struct {
		name, a, b string
		deny       []Action // what is left of a Deny at the end of 2026, from 2027 and from 2028 on
		warn       []Action // and of a Warn
		from       time.Time
	}{
		{"nobody says anything", none, none, []Action{Deny, Deny, Deny}, []Action{Warn, Warn, Warn}, time.Time{}},
		{"no more than a warning", other("maxAction: Warn"), none, []Action{Warn, Warn, Warn}, []Action{Warn, Warn, Warn}, time.Time{}},
		{"not even a warning", other("maxAction: Audit"), none, []Action{Audit, Audit, Audit}, []Action{Audit, Audit, Audit}, time.Time{}},
		{"a warning for a while", other("maxAction: Warn, " + in2027), none, []Action{Warn, Deny, Deny}, []Action{Warn, Warn, Warn}, year(2027)},
		{"no warning for a while", other("maxAction: Audit, " + in2028), none, []Action{Audit, Audit, Deny}, []Action{Audit, Audit, Warn}, year(2028)},
		{"two actions", other("maxAction: Audit"), other("maxAction: Warn"), []Action{Warn, Warn, Warn}, []Action{Warn, Warn, Warn}, time.Time{}},
		{"two days", other("maxAction: Warn, " + in2027), other("maxAction: Warn, " + in2028), []Action{Warn, Deny, Deny}, []Action{Warn, Warn, Warn}, year(2027)},
		{"a day and none", other("maxAction: Warn, " + in2028), other("maxAction: Warn"), []Action{Warn, Warn, Deny}, []Action{Warn, Warn, Warn}, year(2028)},
		{"the laxer ends first", other("maxAction: Audit, " + in2027), other("maxAction: Warn, " + in2028), []Action{Warn, Deny, Deny}, []Action{Warn, Warn, Warn}, year(2027)},
		{"the stricter ends first", other("maxAction: Audit, " + in2028), other("maxAction: Warn, " + in2027), []Action{Warn, Deny, Deny}, []Action{Warn, Warn, Warn}, year(2027)},
		{"one has ended long ago", other(`maxAction: Audit, enforceFrom: "0001-01-01T00:00:00Z"`), other("maxAction: Warn"), []Action{Deny, Deny, Deny}, []Action{Warn, Warn, Warn}, time.Time{}},
		{"another zone", other(`maxAction: Warn, enforceFrom: "2027-01-01T02:00:00+02:00"`), none, []Action{Warn, Deny, Deny}, []Action{Warn, Warn, Warn}, year(2027)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, pol := range []*Policy{effective(t, tt.a, tt.b), effective(t, tt.b, tt.a)} {
				for i, now := range []time.Time{year(2027).Add(-time.Second), year(2027), year(2028)} {
					action, from := pol.Action("a/rule", Deny, now)
					require.Equal(t, tt.deny[i], action, now)
					want := tt.from
					if action == Deny {
						want = time.Time{}
					}
					require.Equal(t, want, from, now)
					for fallback, want := range map[Action]Action{Warn: tt.warn[i], Audit: Audit, Off: Off} {
						action, from = pol.Action("a/rule", fallback, now)
						require.Equal(t, want, action, now)
						require.Zero(t, from, "what does not deny tells no day")
					}
				}
			}
		})
	}
}

func TestNamedRulesAreNotCapped(t *testing.T) {
	const named = `rules: [{name: serviceentry/open-proxy, action: Deny}, {name: serviceentry/port, action: Deny, enforceFrom: "2028-01-01T00:00:00Z"}, {name: serviceentry/location, action: Warn}]`
	const other = `otherRules: {maxAction: Audit, enforceFrom: "2027-01-01T00:00:00Z"}`
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, pol := range []*Policy{effective(t, named+", "+other), effective(t, named, other), effective(t, other, named)} {
		action, from := pol.Action("serviceentry/open-proxy", Warn, now)
		require.Equal(t, Deny, action)
		require.Zero(t, from)
		action, from = pol.Action("serviceentry/port", Deny, now)
		require.Equal(t, Warn, action)
		require.Equal(t, 2028, from.Year(), "its own day")
		action, _ = pol.Action("serviceentry/location", Deny, now.AddDate(5, 0, 0))
		require.Equal(t, Warn, action, "for good")
		require.Len(t, pol.Rules, 3, "rules that are capped are not named")
	}
}

func TestLists(t *testing.T) {
	pol := effective(t,
		`hosts: {allowed: [{host: b.com, ports: [443]}, {host: a.com, direct: true}], denied: [{host: x.com}]}, ports: {allowed: [443], denied: [25]}, addresses: {allowed: [192.0.2.0/24]}`,
		`hosts: {unlisted: Deny, allowed: [{host: b.com, ports: [80]}, {host: a.com}], denied: [{host: x.com}, {host: w.com}]}, ports: {allowed: [80], denied: [22]}, addresses: {allowed: [192.0.2.0/24, 198.51.100.0/24]}, existingViolations: Deny`,
		`hosts: {unlisted: Allow}, existingViolations: Allow`)
	require.Equal(t, []AllowedHost{{Host: "a.com"}, {Host: "a.com", Direct: true}, {Host: "b.com", Ports: []uint32{80, 443}}}, pol.AllowedHosts)
	require.Equal(t, []string{"w.com", "x.com"}, pol.DeniedHosts)
	require.Equal(t, []uint32{80, 443}, pol.AllowedPorts)
	require.Equal(t, []uint32{22, 25}, pol.DeniedPorts)
	require.Len(t, pol.AllowedAddresses, 2)
	require.Equal(t, DenyUnlisted, pol.Unlisted)
	require.Equal(t, DenyExisting, pol.ExistingViolations)

	pol = effective(t, "hosts: {allowed: [{host: b.com, ports: [443]}]}", "hosts: {allowed: [{host: b.com}]}")
	require.Equal(t, []AllowedHost{{Host: "b.com"}}, pol.AllowedHosts, "no ports are all ports")
}

func TestStrictestLimits(t *testing.T) {
	pol := effective(t,
		"limits: {minWildcardLabels: 1, maxRetryAttempts: 0, maxTimeout: 600s, maxPrefixIPv4: 8, maxPrefixIPv6: 64}",
		"limits: {minWildcardLabels: 3, maxRetryAttempts: 3, maxTimeout: 900s, maxPrefixIPv4: 12}")
	require.Equal(t, Limits{MinWildcardLabels: 3, MaxRetryAttempts: 0, MaxTimeout: 10 * time.Minute, MaxPrefixIPv4: 12, MaxPrefixIPv6: 64}, pol.Limits)

	pol = effective(t, "limits: {maxTimeout: 900s}", "priority: 1")
	want := Default().Limits
	want.MaxTimeout = 15 * time.Minute
	require.Equal(t, want, pol.Limits, "laxer than built in, if nobody else says anything")
}

func TestWinners(t *testing.T) {
	pol := effective(t,
		"priority: 1, defaults: {timeout: 1s, retries: {attempts: 1}}",
		"priority: 2, defaults: {timeout: 2s}",
		"priority: 2, defaults: {timeout: 3s, exportTo: [b]}",
		"priority: -1, defaults: {timeout: 4s, exportTo: [c]}")
	require.Equal(t, 2*time.Second, *pol.Defaults.Timeout, "the highest priority, then the first name")
	require.EqualValues(t, 1, pol.Defaults.Retries.Attempts, "each default on its own")
	require.Equal(t, []string{"b"}, pol.Defaults.ExportTo)

	pol = effective(t,
		`priority: 9, gateway: {mode: "Off", name: none}, waypoint: {mode: Inject, name: a/w}`,
		"priority: 1, gateway: {mode: Require, name: one}",
		"priority: 2, gateway: {mode: Require, name: two}, waypoint: {mode: Inject}")
	require.Equal(t, Route{Mode: ModeRequire, Name: "two"}, pol.Gateway, "the strictest mode, and its first name")
	require.Equal(t, Route{Mode: ModeInject, Name: "a/w"}, pol.Waypoint)
	require.Equal(t, Route{Mode: ModeInject, Name: "default"}, effective(t, "gateway: {mode: Inject}").Gateway, "without a name, the built-in one")
}

func TestDefaultsKeepWithinLimits(t *testing.T) {
	pol := effective(t, "defaults: {timeout: 60s, retries: {attempts: 5, retryOn: reset}}", "limits: {maxTimeout: 10s, maxRetryAttempts: 3}")
	require.Equal(t, 10*time.Second, *pol.Defaults.Timeout)
	require.Equal(t, &Retries{Attempts: 3, RetryOn: "reset"}, pol.Defaults.Retries)

	pol = effective(t, "defaults: {timeout: 10s, retries: {attempts: 5}}", "limits: {maxTimeout: 10s, maxRetryAttempts: 0}")
	require.Equal(t, 10*time.Second, *pol.Defaults.Timeout)
	require.Nil(t, pol.Defaults.Retries, "where none are allowed none are filled in")
}

func TestBuiltInFitsItself(t *testing.T) {
	pol := *Default()
	capDefaults(&pol)
	require.Equal(t, Default(), &pol)
}
