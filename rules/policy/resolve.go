// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A Set is all policies and exemptions that there are. It is immutable and safe
// for concurrent use.
type Set struct {
	parts      []*part // by precedence
	exemptions map[string][]Exemption
	// policies are the effective policies that were asked for, by the parts
	// and the namespace's exemptions that they are made of.
	policies sync.Map
}

// Compile checks policies and exemptions and returns their set. The error names
// every object and field that is wrong.
func Compile(policies []*v1alpha1.EgressPolicy, exemptions []*v1alpha1.EgressExemption) (*Set, error) {
	s := &Set{exemptions: map[string][]Exemption{}}
	var errs []error
	for _, p := range policies {
		compiled, err := compilePolicy(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.parts = append(s.parts, compiled)
	}
	slices.SortFunc(s.parts, byPrecedence)
	for _, e := range exemptions {
		compiled, err := compileExemption(e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.exemptions[e.Spec.Namespace] = append(s.exemptions[e.Spec.Namespace], compiled)
	}
	for _, list := range s.exemptions {
		slices.SortFunc(list, func(a, b Exemption) int { return strings.Compare(a.Name, b.Name) })
	}
	return s, errors.Join(errs...)
}

// For returns the effective policy of a namespace with the given labels. Equal
// answers are the same policy.
func (s *Set) For(namespace string, namespaceLabels map[string]string) *Policy {
	set := labeled{namespace, namespaceLabels}
	var selected []*part
	var key strings.Builder
	for i, p := range s.parts {
		if p.selector.Matches(set) {
			selected = append(selected, p)
			key.WriteString(strconv.Itoa(i))
			key.WriteByte(',')
		}
	}
	exemptions := s.exemptions[namespace]
	if len(exemptions) > 0 {
		key.WriteString(namespace)
	}
	if known, ok := s.policies.Load(key.String()); ok {
		return known.(*Policy)
	}
	p := merge(selected)
	p.Exemptions = exemptions
	known, _ := s.policies.LoadOrStore(key.String(), p)
	return known.(*Policy)
}

// labeled are the labels of a namespace with the one that the API server gives
// each, whether or not it was told.
type labeled struct {
	name   string
	labels map[string]string
}

func (l labeled) Lookup(label string) (string, bool) {
	if label == corev1.LabelMetadataName {
		return l.name, true
	}
	value, ok := l.labels[label]
	return value, ok
}

// Has implements [labels.Labels].
func (l labeled) Has(label string) bool { _, ok := l.Lookup(label); return ok }

// Get implements [labels.Labels].
func (l labeled) Get(label string) string { value, _ := l.Lookup(label); return value }

var _ labels.Labels = labeled{}

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
	slices.SortFunc(p.AllowedHosts, compareAllowed)
	p.AllowedHosts = slices.CompactFunc(p.AllowedHosts, func(a, b AllowedHost) bool { return compareAllowed(a, b) == 0 })
	slices.SortFunc(p.AllowedAddresses, comparePrefixes)
	p.AllowedAddresses = slices.Compact(p.AllowedAddresses)
}
