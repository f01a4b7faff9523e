// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A Value is one value of an effective policy, and where it comes from.
type Value struct {
	// Field is where an EgressPolicy would say it, such as
	// "hosts.allowed[api.example.com]".
	Field string `json:"field"`
	Value string `json:"value"`
	// Sources are the policies that say so, by name; none is the built-in
	// default.
	Sources []string `json:"sources"`
}

// Explain returns what holds in a namespace with the given labels, value by value,
// in the order of the fields of an EgressPolicy.
func (s *Set) Explain(namespace string, namespaceLabels map[string]string) []Value {
	selected, _ := s.choose(namespace, namespaceLabels)
	e := &explanation{parts: selected, policy: s.For(namespace, namespaceLabels)}
	e.rules()
	e.otherRules()
	e.hosts()
	e.lists()
	e.limits()
	e.defaults()
	e.routes()
	for i := range e.policy.Exemptions {
		x := &e.policy.Exemptions[i]
		e.add("exemptions["+x.Name+"]", x.describe(), "EgressExemption "+x.Name)
	}
	return e.values
}

type explanation struct {
	parts  []*part
	policy *Policy
	values []Value
}

func (e *explanation) add(field, value string, sources ...string) {
	e.values = append(e.values, Value{Field: field, Value: value, Sources: slices.AppendSeq([]string{}, slices.Values(sources))})
}

// from returns the names of the parts that say something.
func (e *explanation) from(says func(*part) bool) []string {
	var names []string
	for _, p := range e.parts {
		if says(p) {
			names = append(names, p.name)
		}
	}
	slices.Sort(names)
	return names
}

func (e *explanation) rules() {
	e.add("existingViolations", string(e.policy.ExistingViolations), e.from(func(p *part) bool { return p.existing == e.policy.ExistingViolations })...)
	for _, name := range slices.Sorted(maps.Keys(e.policy.Rules)) {
		setting := e.policy.Rules[name]
		value := string(setting.Action)
		if !setting.EnforceFrom.IsZero() {
			value += " from " + setting.EnforceFrom.UTC().Format(time.RFC3339) + ", Warn until then"
		}
		e.add("rules["+name+"]", value, e.from(func(p *part) bool {
			own, ok := p.rules[name]
			return ok && own.Action == setting.Action && own.EnforceFrom.Equal(setting.EnforceFrom)
		})...)
	}
}

// otherRules has a value for each half of the cap, since they may come from
// different policies.
func (e *explanation) otherRules() {
	limit := e.policy.OtherRules
	if limit.MaxAction == "" {
		return
	}
	e.add("otherRules.maxAction", string(limit.MaxAction), e.from(func(p *part) bool { return p.otherRules.MaxAction == limit.MaxAction })...)
	if limit.EnforceFrom == nil {
		return
	}
	e.add("otherRules.enforceFrom", limit.EnforceFrom.Format(time.RFC3339), e.from(func(p *part) bool {
		own := p.otherRules.EnforceFrom
		return own != nil && own.Equal(*limit.EnforceFrom)
	})...)
}

func (e *explanation) hosts() {
	e.add("hosts.unlisted", string(e.policy.Unlisted), e.from(func(p *part) bool { return p.unlisted == e.policy.Unlisted })...)
	for _, a := range e.policy.AllowedHosts {
		e.add("hosts.allowed["+a.Host+"]", describeAllowed(a), e.from(func(p *part) bool {
			return slices.ContainsFunc(p.allowed, func(own AllowedHost) bool { return compareAllowed(own, a) == 0 })
		})...)
	}
	for _, h := range e.policy.DeniedHosts {
		e.add("hosts.denied["+h+"]", "denied", e.from(func(p *part) bool { return slices.Contains(p.denied, h) })...)
	}
	for _, r := range e.policy.ReservedHosts {
		e.add("hosts.reserved["+r.Host+"]", "for other namespaces", r.Policy)
	}
}

func describeAllowed(a AllowedHost) string {
	words := []string{"every port"}
	if len(a.Ports) > 0 {
		words[0] = "ports " + joinNumbers(a.Ports)
	}
	if a.Direct {
		words = append(words, "direct")
	}
	if a.Exclusive {
		words = append(words, "exclusive")
	}
	return strings.Join(words, ", ")
}

func joinNumbers(numbers []uint32) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(words, " ")
}

func (e *explanation) lists() {
	for _, a := range e.policy.AllowedAddresses {
		e.add("addresses.allowed["+a.String()+"]", "allowed", e.from(func(p *part) bool {
			return slices.ContainsFunc(p.addresses, func(own netip.Prefix) bool { return own == a })
		})...)
	}
	if ports := e.policy.AllowedPorts; len(ports) > 0 {
		e.add("ports.allowed", joinNumbers(ports), e.from(func(p *part) bool { return len(p.allowPorts) > 0 })...)
	}
	if ports := e.policy.DeniedPorts; len(ports) > 0 {
		e.add("ports.denied", joinNumbers(ports), e.from(func(p *part) bool { return len(p.denyPorts) > 0 })...)
	}
}

func (e *explanation) limits() {
	l := e.policy.Limits
	number := func(field string, value int, get func(*v1alpha1.Limits) *int32) {
		e.add("limits."+field, strconv.Itoa(value), e.from(func(p *part) bool {
			own := get(&p.limits)
			return own != nil && int(*own) == value
		})...)
	}
	number("minWildcardLabels", l.MinWildcardLabels, func(l *v1alpha1.Limits) *int32 { return l.MinWildcardLabels })
	number("maxRetryAttempts", l.MaxRetryAttempts, func(l *v1alpha1.Limits) *int32 { return l.MaxRetryAttempts })
	e.add("limits.maxTimeout", l.MaxTimeout.String(), e.from(func(p *part) bool {
		return p.limits.MaxTimeout != nil && p.limits.MaxTimeout.Duration == l.MaxTimeout
	})...)
	number("maxPrefixIPv4", l.MaxPrefixIPv4, func(l *v1alpha1.Limits) *int32 { return l.MaxPrefixIPv4 })
	number("maxPrefixIPv6", l.MaxPrefixIPv6, func(l *v1alpha1.Limits) *int32 { return l.MaxPrefixIPv6 })
}

// defaults are those of the first part, in the order of precedence, that has one.
func (e *explanation) defaults() {
	d := e.policy.Defaults
	first := func(says func(*part) bool) []string {
		if i := slices.IndexFunc(e.parts, says); i >= 0 {
			return []string{e.parts[i].name}
		}
		return nil
	}
	if d.Timeout != nil {
		e.add("defaults.timeout", d.Timeout.String(), first(func(p *part) bool { return p.defaults.Timeout != nil })...)
	}
	if d.Retries != nil {
		value := fmt.Sprintf("%d attempts on %s", d.Retries.Attempts, d.Retries.RetryOn)
		if d.Retries.PerTryTimeout != nil {
			value += ", " + d.Retries.PerTryTimeout.String() + " each"
		}
		e.add("defaults.retries", value, first(func(p *part) bool { return p.defaults.Retries != nil })...)
	}
	if d.ExportTo != nil {
		e.add("defaults.exportTo", strings.Join(d.ExportTo, " "), first(func(p *part) bool { return p.defaults.ExportTo != nil })...)
	}
}

func (e *explanation) routes() {
	for _, r := range []struct {
		field string
		value Route
		get   func(*part) *Route
	}{
		{"gateway", e.policy.Gateway, func(p *part) *Route { return p.gateway }},
		{"waypoint", e.policy.Waypoint, func(p *part) *Route { return p.waypoint }},
	} {
		says := func(p *part) bool { own := r.get(p); return own != nil && own.Mode == r.value.Mode }
		value := string(r.value.Mode)
		if r.value.Mode != ModeOff {
			value += " " + r.value.Name
		}
		e.add(r.field, value, e.from(says)...)
	}
}

func (e *Exemption) describe() string {
	what := "every " + e.kind
	if e.object != "" {
		what = e.kind + " " + e.object
	}
	if len(e.hosts) > 0 {
		what += " with " + strings.Join(e.hosts, " ")
	}
	return fmt.Sprintf("%s for %s until %s", strings.Join(e.rules, " "), what, e.ExpiresAt.Format(time.RFC3339))
}
