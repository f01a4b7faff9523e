// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A generator makes random policies that all select every namespace.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 1))} }

// maybe is true for one of n.
func (g generator) maybe(n int) bool { return g.IntN(n) == 0 }

func pickOne[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// pickSome returns some of the values, in any order and each once.
func pickSome[T any](g generator, of ...T) []T {
	g.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	return of[:g.IntN(len(of)+1)]
}

func (g generator) policies() []*v1alpha1.EgressPolicy {
	var policies []*v1alpha1.EgressPolicy
	for _, name := range pickSome(g, "a", "b", "c", "d", "e") {
		policies = append(policies, g.policy(name))
	}
	return policies
}

func (g generator) policy(name string) *v1alpha1.EgressPolicy {
	p := &v1alpha1.EgressPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s := &p.Spec
	s.NamespaceSelector = &metav1.LabelSelector{}
	s.Priority = pickOne[int32](g, -1, 0, 0, 5)
	s.ExistingViolations = pickOne[v1alpha1.Verdict](g, "", "", "Allow", "Deny")
	for _, rule := range pickSome(g, "serviceentry/port", "serviceentry/location", "virtualservice/retries") {
		s.Rules = append(s.Rules, g.rule(rule))
	}
	s.OtherRules = g.otherRules()
	s.Hosts.Unlisted = pickOne[v1alpha1.Verdict](g, "", "", "Allow", "Deny")
	for _, host := range pickSome(g, "a.com", "*.b.com", "c.org") {
		s.Hosts.Allowed = append(s.Hosts.Allowed, v1alpha1.AllowedHost{
			Host: host, Ports: pickSome[int32](g, 80, 443, 8443), Direct: g.maybe(2), Exclusive: g.maybe(3),
		})
	}
	for _, host := range pickSome(g, "a.com", "*.d.com") {
		s.Hosts.Denied = append(s.Hosts.Denied, v1alpha1.DeniedHost{Host: host})
	}
	s.Addresses.Allowed = pickSome(g, "192.0.2.0/24", "192.0.2.0/25", "2001:db8::/48")
	s.Ports.Allowed = pickSome[int32](g, 80, 443)
	s.Ports.Denied = pickSome[int32](g, 22, 25)
	s.Limits = v1alpha1.Limits{
		MinWildcardLabels: optional[int32](g, 1, 2, 3), MaxRetryAttempts: optional[int32](g, 0, 1, 5),
		MaxTimeout:    optional(g, metav1.Duration{Duration: time.Second}, metav1.Duration{Duration: time.Hour}),
		MaxPrefixIPv4: optional[int32](g, 8, 24), MaxPrefixIPv6: optional[int32](g, 48, 64),
	}
	if g.maybe(2) {
		s.Defaults = &v1alpha1.Defaults{
			Timeout:  optional(g, metav1.Duration{Duration: 500 * time.Millisecond}, metav1.Duration{Duration: 30 * time.Second}),
			Retries:  optional(g, v1alpha1.Retries{Attempts: 1}, v1alpha1.Retries{Attempts: 4, RetryOn: "5xx"}),
			ExportTo: pickOne(g, nil, []string{"."}, []string{"a", "b"}),
		}
	}
	s.Gateway, s.Waypoint = g.route(""), g.route("egress/")
	return p
}

func (g generator) rule(name string) v1alpha1.RuleSetting {
	r := v1alpha1.RuleSetting{Name: v1alpha1.RuleName(name), Action: pickOne[v1alpha1.Action](g, "Deny", "Warn", "Audit", "Off")}
	if r.Action == "Deny" && g.maybe(2) {
		r.EnforceFrom = &metav1.Time{Time: time.Date(2026+g.IntN(3), 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	return r
}

func (g generator) otherRules() *v1alpha1.OtherRules {
	o := optional(g, v1alpha1.OtherRules{MaxAction: "Warn"}, v1alpha1.OtherRules{MaxAction: "Audit"})
	if o != nil && g.maybe(2) {
		o.EnforceFrom = &metav1.Time{Time: time.Date(2026+g.IntN(3), 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	return o
}

func (g generator) route(prefix string) *v1alpha1.Route {
	return optional(g,
		v1alpha1.Route{Mode: "Off"}, v1alpha1.Route{Mode: "Inject", Name: prefix + "one"},
		v1alpha1.Route{Mode: "Require"}, v1alpha1.Route{Mode: "Require", Name: prefix + "two"})
}

func optional[T any](g generator, of ...T) *T {
	if g.maybe(2) {
		return nil
	}
	return new(pickOne(g, of...))
}

// split divides what a policy says between two, which together say the same.
func (g generator) split(p *v1alpha1.EgressPolicy) []*v1alpha1.EgressPolicy {
	left, right := p.DeepCopy(), p.DeepCopy()
	right.Name += "-2" // sorts behind this and before the next
	l, r := &left.Spec, &right.Spec
	share(g, &l.ExistingViolations, &r.ExistingViolations)
	divide(g, &l.Rules, &r.Rules)
	share(g, &l.OtherRules, &r.OtherRules)
	share(g, &l.Hosts.Unlisted, &r.Hosts.Unlisted)
	divide(g, &l.Hosts.Allowed, &r.Hosts.Allowed)
	divide(g, &l.Hosts.Denied, &r.Hosts.Denied)
	divide(g, &l.Addresses.Allowed, &r.Addresses.Allowed)
	divide(g, &l.Ports.Allowed, &r.Ports.Allowed)
	divide(g, &l.Ports.Denied, &r.Ports.Denied)
	share(g, &l.Limits.MinWildcardLabels, &r.Limits.MinWildcardLabels)
	share(g, &l.Limits.MaxRetryAttempts, &r.Limits.MaxRetryAttempts)
	share(g, &l.Limits.MaxTimeout, &r.Limits.MaxTimeout)
	share(g, &l.Limits.MaxPrefixIPv4, &r.Limits.MaxPrefixIPv4)
	share(g, &l.Limits.MaxPrefixIPv6, &r.Limits.MaxPrefixIPv6)
	if l.Defaults != nil {
		share(g, &l.Defaults.Timeout, &r.Defaults.Timeout)
		share(g, &l.Defaults.Retries, &r.Defaults.Retries)
	}
	share(g, &l.Gateway, &r.Gateway)
	share(g, &l.Waypoint, &r.Waypoint)
	return []*v1alpha1.EgressPolicy{left, right}
}

// share leaves the value in the left, in the right or in both.
func share[T any](g generator, left, right *T) {
	switch g.IntN(3) {
	case 0:
		*left = *new(T)
	case 1:
		*right = *new(T)
	}
}

// divide leaves each element in the left, in the right or in both.
func divide[T any](g generator, left, right *[]T) {
	var l, r []T
	for _, e := range *left {
		where := g.IntN(3)
		if where != 0 {
			l = append(l, e)
		}
		if where != 1 {
			r = append(r, e)
		}
	}
	*left, *right = l, r
}

func effectiveOf(t *testing.T, policies []*v1alpha1.EgressPolicy) *Policy {
	t.Helper()
	set, err := Compile(policies, nil)
	require.NoError(t, err)
	p := *set.For("shop", nil)
	p.Sources = nil
	return &p
}

const rounds = 500

func TestOrderPlaysNoPart(t *testing.T) {
	for seed := range uint64(rounds) {
		g := newGenerator(seed)
		policies := g.policies()
		want := effectiveOf(t, policies)
		g.Shuffle(len(policies), func(i, j int) { policies[i], policies[j] = policies[j], policies[i] })
		require.Equal(t, want, effectiveOf(t, policies), "seed %d", seed)
	}
}

func TestSplittingPlaysNoPart(t *testing.T) {
	for seed := range uint64(rounds) {
		g := newGenerator(seed)
		policies := g.policies()
		want := effectiveOf(t, policies)
		var parts []*v1alpha1.EgressPolicy
		for _, p := range policies {
			parts = append(parts, g.split(p)...)
		}
		require.Equal(t, want, effectiveOf(t, parts), "seed %d", seed)
	}
}

// TestCapsCombineAtEachMoment: under several caps the strictest of what each alone
// leaves holds, and the day that is told is that on which Deny begins.
func TestCapsCombineAtEachMoment(t *testing.T) {
	const rule = "a/unnamed"
	capped := func(policies []*v1alpha1.EgressPolicy) (alone []*Policy) {
		for _, p := range policies {
			if p.Spec.OtherRules != nil {
				alone = append(alone, effectiveOf(t, []*v1alpha1.EgressPolicy{p}))
			}
		}
		return alone
	}
	for seed := range uint64(rounds) {
		policies := newGenerator(seed).policies()
		all, alone := effectiveOf(t, policies), capped(policies)
		for year := 2025; year < 2030; year++ {
			for _, now := range []time.Time{
				time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Nanosecond), time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC),
			} {
				for fallback := range strictness {
					want := fallback
					for i, p := range alone {
						if one, _ := p.Action(rule, fallback, now); i == 0 || strictness[one] > strictness[want] {
							want = one
						}
					}
					is, from := all.Action(rule, fallback, now)
					require.Equal(t, want, is, "seed %d: %s at %s", seed, fallback, now)
					if from.IsZero() {
						continue
					}
					require.Equal(t, Deny, fallback, "seed %d", seed)
					require.True(t, now.Before(from), "seed %d", seed)
					just, _ := all.Action(rule, fallback, from.Add(-time.Nanosecond))
					then, _ := all.Action(rule, fallback, from)
					require.NotEqual(t, Deny, just, "seed %d", seed)
					require.Equal(t, Deny, then, "seed %d", seed)
				}
			}
		}
	}
}

// TestFurtherPoliciesOnlyTighten: nothing that some policies say is weaker when
// there is one more.
func TestFurtherPoliciesOnlyTighten(t *testing.T) {
	for seed := range uint64(rounds) {
		g := newGenerator(seed)
		policies := g.policies()
		before := effectiveOf(t, policies)
		after := effectiveOf(t, append(slices.Clone(policies), g.policy("new")))
		for _, rule := range []string{"serviceentry/port", "serviceentry/location", "virtualservice/retries"} {
			_, named := before.Rules[rule]
			_, nowNamed := after.Rules[rule]
			if !named && (nowNamed || before.OtherRules.MaxAction == "") {
				continue // what follows from severities may be replaced
			}
			for year := 2025; year < 2030; year++ {
				now := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)
				for fallback := range strictness {
					was, _ := before.Action(rule, fallback, now)
					is, _ := after.Action(rule, fallback, now)
					require.GreaterOrEqual(t, strictness[is], strictness[was], "seed %d: %s in %d", seed, rule, year)
				}
			}
		}
		require.False(t, before.Unlisted == DenyUnlisted && after.Unlisted != DenyUnlisted, "seed %d", seed)
		require.False(t, before.ExistingViolations == DenyExisting && after.ExistingViolations != DenyExisting, "seed %d", seed)
		require.Subset(t, after.DeniedHosts, before.DeniedHosts, "seed %d", seed)
		require.Subset(t, after.DeniedPorts, before.DeniedPorts, "seed %d", seed)
		require.GreaterOrEqual(t, modeStrictness[after.Gateway.Mode], modeStrictness[before.Gateway.Mode], "seed %d", seed)
		require.GreaterOrEqual(t, modeStrictness[after.Waypoint.Mode], modeStrictness[before.Waypoint.Mode], "seed %d", seed)
	}
}
