// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// merge combines parts, which are in order of precedence, to one policy.
// Nothing but the winner of a default depends on their order.
func merge(parts []*part) *Policy {
	if len(parts) == 0 {
		p := *Default()
		return &p
	}
	p := &Policy{
		Rules:              map[string]RuleSetting{},
		ExistingViolations: AllowExisting,
		Unlisted:           AllowUnlisted,
		Limits:             Default().Limits,
		Gateway:            Default().Gateway,
		Waypoint:           Default().Waypoint,
	}
	for _, part := range parts {
		p.Sources = append(p.Sources, part.name)
		for name, setting := range part.rules {
			p.Rules[name] = stricter(p.Rules[name], setting)
		}
		p.OtherRules = stricterCap(p.OtherRules, part.otherRules)
		if part.existing == DenyExisting {
			p.ExistingViolations = DenyExisting
		}
		if part.unlisted == DenyUnlisted {
			p.Unlisted = DenyUnlisted
		}
		p.AllowedHosts = append(p.AllowedHosts, part.allowed...)
		p.DeniedHosts = append(p.DeniedHosts, part.denied...)
		p.AllowedAddresses = append(p.AllowedAddresses, part.addresses...)
		p.AllowedPorts = append(p.AllowedPorts, part.allowPorts...)
		p.DeniedPorts = append(p.DeniedPorts, part.denyPorts...)
		setIfUnset(&p.Defaults.Timeout, part.defaults.Timeout)
		setIfUnset(&p.Defaults.Retries, part.defaults.Retries)
		if p.Defaults.ExportTo == nil {
			p.Defaults.ExportTo = part.defaults.ExportTo
		}
	}
	p.Limits = mergeLimits(parts)
	capDefaults(p)
	p.Gateway = mergeRoutes(parts, p.Gateway, func(p *part) *Route { return p.gateway })
	p.Waypoint = mergeRoutes(parts, p.Waypoint, func(p *part) *Route { return p.waypoint })
	normalize(p)
	return p
}

func setIfUnset[T any](field **T, value *T) {
	if *field == nil {
		*field = value
	}
}

// capDefaults keeps what is filled in within the limits, which may come from
// another policy: else mutators would write what rules refuse.
func capDefaults(p *Policy) {
	if t := p.Defaults.Timeout; t != nil && *t > p.Limits.MaxTimeout {
		p.Defaults.Timeout = new(p.Limits.MaxTimeout)
	}
	r := p.Defaults.Retries
	if r == nil || int(r.Attempts) <= p.Limits.MaxRetryAttempts {
		return
	}
	if p.Limits.MaxRetryAttempts == 0 {
		p.Defaults.Retries = nil
		return
	}
	capped := *r
	capped.Attempts = int32(p.Limits.MaxRetryAttempts) //nolint:gosec // at most Attempts, an int32
	p.Defaults.Retries = &capped
}

// strictness orders actions; the zero value is laxer than all.
var strictness = map[Action]int{Off: 1, Audit: 2, Warn: 3, Deny: 4}

// stricter combines what two policies say of a rule. A Deny that begins later
// outlives any weaker action, which it warns beside until then.
func stricter(a, b RuleSetting) RuleSetting {
	if strictness[a.Action] != strictness[b.Action] {
		if strictness[a.Action] > strictness[b.Action] {
			return a
		}
		return b
	}
	if b.EnforceFrom.Before(a.EnforceFrom) {
		return b
	}
	return a
}

// stricterCap combines the caps of two policies, of which one without an action is
// none. A cap that has ended is stricter than all, so the first to end ends both;
// until then the stricter action holds.
func stricterCap(a, b Cap) Cap {
	switch {
	case a.MaxAction == "":
		return b
	case b.MaxAction == "":
		return a
	}
	if strictness[b.MaxAction] > strictness[a.MaxAction] {
		a.MaxAction = b.MaxAction
	}
	if a.EnforceFrom == nil || b.EnforceFrom != nil && b.EnforceFrom.Before(*a.EnforceFrom) {
		a.EnforceFrom = b.EnforceFrom
	}
	return a
}

// mergeLimits takes the strictest of what the parts say, and the built-in limit
// where they say nothing.
func mergeLimits(parts []*part) Limits {
	limits := Default().Limits
	highest := func(field *int, get func(*v1alpha1.Limits) *int32) {
		pick(parts, field, get, func(a, b int32) bool { return a > b })
	}
	highest(&limits.MinWildcardLabels, func(l *v1alpha1.Limits) *int32 { return l.MinWildcardLabels })
	highest(&limits.MaxPrefixIPv4, func(l *v1alpha1.Limits) *int32 { return l.MaxPrefixIPv4 })
	highest(&limits.MaxPrefixIPv6, func(l *v1alpha1.Limits) *int32 { return l.MaxPrefixIPv6 })
	pick(parts, &limits.MaxRetryAttempts, func(l *v1alpha1.Limits) *int32 { return l.MaxRetryAttempts }, func(a, b int32) bool { return a < b })
	var shortest time.Duration
	for _, p := range parts {
		if d := p.limits.MaxTimeout; d != nil && (shortest == 0 || d.Duration < shortest) {
			shortest = d.Duration
		}
	}
	if shortest > 0 {
		limits.MaxTimeout = shortest
	}
	return limits
}

// pick sets field to the strictest value that a part has, if any has one.
func pick(parts []*part, field *int, get func(*v1alpha1.Limits) *int32, stricter func(a, b int32) bool) {
	var best *int32
	for _, p := range parts {
		if v := get(&p.limits); v != nil && (best == nil || stricter(*v, *best)) {
			best = v
		}
	}
	if best != nil {
		*field = int(*best)
	}
}

var modeStrictness = map[Mode]int{ModeOff: 1, ModeInject: 2, ModeRequire: 3}

// mergeRoutes takes the strictest mode, and of the parts with that mode the
// name of the first by precedence.
func mergeRoutes(parts []*part, fallback Route, get func(*part) *Route) Route {
	var best *Route
	for _, p := range parts {
		if r := get(p); r != nil && (best == nil || modeStrictness[r.Mode] > modeStrictness[best.Mode]) {
			best = r
		}
	}
	if best == nil {
		return fallback
	}
	if best.Name == "" {
		return Route{Mode: best.Mode, Name: fallback.Name}
	}
	return *best
}

// normalize puts lists in order and removes what stands twice, so that equal
// policies look equal, however they were put together.
func normalize(p *Policy) {
	slices.Sort(p.Sources)
	p.DeniedHosts = sortedUnique(p.DeniedHosts)
	p.AllowedPorts = sortedUnique(p.AllowedPorts)
	p.DeniedPorts = sortedUnique(p.DeniedPorts)
	p.AllowedHosts = joinAllowed(p.AllowedHosts)
	slices.SortFunc(p.AllowedAddresses, comparePrefixes)
	p.AllowedAddresses = slices.Compact(p.AllowedAddresses)
}
