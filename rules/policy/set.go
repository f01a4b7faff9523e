// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A Set is all policies and exemptions that there are. What it says does not
// change; it is safe for concurrent use.
type Set struct {
	parts      []*part                // by precedence
	exemptions map[string][]Exemption // by namespace, then by name

	mu sync.RWMutex
	// answers are those given last, by namespace.
	answers map[string]answer
	// policies are the effective policies, by what they are made of.
	policies map[string]*Policy
}

// An answer is the policy of a namespace as long as it has these labels.
type answer struct {
	labels map[string]string
	policy *Policy
}

// maxAnswers bounds the memory for answers, lest somebody asks about namespaces
// that do not exist.
const maxAnswers = 1 << 15

// Compile checks policies and exemptions and returns their set, or an error that
// names every object and field that is wrong. The objects must not be changed
// afterwards.
func Compile(policies []*v1alpha1.EgressPolicy, exemptions []*v1alpha1.EgressExemption) (*Set, error) {
	s := &Set{exemptions: map[string][]Exemption{}, answers: map[string]answer{}, policies: map[string]*Policy{}}
	var errs []error
	seen := map[string]bool{}
	for _, p := range policies {
		compiled, err := compilePolicy(p)
		errs = append(errs, err, unique(seen, "EgressPolicy "+p.Name))
		s.parts = append(s.parts, compiled)
	}
	for _, e := range exemptions {
		compiled, err := compileExemption(e)
		errs = append(errs, err, unique(seen, "EgressExemption "+e.Name))
		s.exemptions[e.Spec.Namespace] = append(s.exemptions[e.Spec.Namespace], compiled)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(s.parts, byPrecedence)
	for _, list := range s.exemptions {
		slices.SortFunc(list, func(a, b Exemption) int { return strings.Compare(a.Name, b.Name) })
	}
	return s, nil
}

// CheckPolicy returns what [Compile] would find wrong with a policy.
func CheckPolicy(p *v1alpha1.EgressPolicy) error {
	_, err := compilePolicy(p)
	return err
}

// CheckExemption returns what [Compile] would find wrong with an exemption.
func CheckExemption(e *v1alpha1.EgressExemption) error {
	_, err := compileExemption(e)
	return err
}

func unique(seen map[string]bool, object string) error {
	if seen[object] {
		return fmt.Errorf("%s: there are two of that name", object)
	}
	seen[object] = true
	return nil
}

// For returns the effective policy of a namespace with the given labels. Equal
// answers are the same policy; to ask again costs no allocation.
func (s *Set) For(namespace string, namespaceLabels map[string]string) *Policy {
	s.mu.RLock()
	last, ok := s.answers[namespace]
	s.mu.RUnlock()
	if ok && maps.Equal(last.labels, namespaceLabels) {
		return last.policy
	}
	selected, key := s.choose(namespace, namespaceLabels)
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.policies[key]
	if !ok {
		p = merge(selected)
		p.ReservedHosts = s.reserved(selected)
		p.Exemptions = s.exemptions[namespace]
		s.policies[key] = p
	}
	if len(s.answers) >= maxAnswers {
		clear(s.answers)
	}
	s.answers[namespace] = answer{labels: maps.Clone(namespaceLabels), policy: p}
	return p
}

// LeadsRoutes reports whether a policy of any namespace has traffic led through a
// gateway or a waypoint, or an exportTo filled in.
func (s *Set) LeadsRoutes() bool {
	return slices.ContainsFunc(s.parts, func(p *part) bool {
		return p.gateway != nil && p.gateway.Mode != ModeOff || p.waypoint != nil && p.waypoint.Mode != ModeOff || len(p.defaults.ExportTo) > 0
	})
}

// reserved returns the exclusive hosts of the parts that are not selected.
func (s *Set) reserved(selected []*part) []ReservedHost {
	var reserved []ReservedHost
	for _, p := range s.parts {
		if slices.Contains(selected, p) {
			continue
		}
		for _, a := range p.allowed {
			r := ReservedHost{Host: a.Host, Policy: p.name}
			if a.Exclusive && !slices.Contains(reserved, r) {
				reserved = append(reserved, r)
			}
		}
	}
	slices.SortFunc(reserved, func(a, b ReservedHost) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Policy, b.Policy))
	})
	return reserved
}

// choose returns the parts for a namespace, and a key that is the same for all
// namespaces with the same effective policy.
func (s *Set) choose(namespace string, namespaceLabels map[string]string) (selected []*part, key string) {
	var b strings.Builder
	var set labels.Labels = labeled{namespace, namespaceLabels} // made once, not for each part
	for i, p := range s.parts {
		if p.selector.Matches(set) {
			selected = append(selected, p)
			b.WriteString(strconv.Itoa(i))
			b.WriteByte(',')
		}
	}
	if len(s.exemptions[namespace]) > 0 {
		b.WriteString(namespace)
	}
	return selected, b.String()
}

// labeled are the labels of a namespace with the one that the API server gives
// each, whether or not it was told.
type labeled struct {
	name   string
	labels map[string]string
}

// Lookup implements [labels.Labels].
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
