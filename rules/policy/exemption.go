// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// An Exemption switches rules off for objects of a namespace, until it expires.
type Exemption struct {
	// Name is that of the EgressExemption.
	Name string
	// ExpiresAt is when it ends.
	ExpiresAt time.Time

	rules  []string
	kind   string
	object string // empty is every object
	hosts  []string
}

func compileExemption(e *v1alpha1.EgressExemption) (Exemption, error) {
	c := new(compiler)
	required := map[string]bool{
		"metadata.name":  e.Name == "",
		"spec.namespace": e.Spec.Namespace == "",
		"spec.kind":      e.Spec.Kind == "",
		"spec.reason":    e.Spec.Reason == "",
		"spec.rules":     len(e.Spec.Rules) == 0,
		"spec.expiresAt": e.Spec.ExpiresAt.IsZero(),
	}
	for _, path := range []string{"metadata.name", "spec.rules", "spec.namespace", "spec.kind", "spec.expiresAt", "spec.reason"} {
		if required[path] {
			c.invalid(path, "", "must be set")
		}
	}
	for i, r := range e.Spec.Rules {
		c.ruleName(fmt.Sprintf("spec.rules[%d]", i), r)
	}
	if e.Spec.Kind != "" && !slices.Contains(v1alpha1.KindNames, e.Spec.Kind) {
		c.invalid("spec.kind", e.Spec.Kind, fmt.Sprintf("must be one of %q", v1alpha1.KindNames))
	}
	if e.Spec.Namespace != "" && len(validation.IsDNS1123Label(e.Spec.Namespace)) > 0 {
		c.invalid("spec.namespace", e.Spec.Namespace, "must be the name of a namespace")
	}
	for i, h := range e.Spec.Hosts {
		if !exemptHost.MatchString(h) {
			c.invalid(fmt.Sprintf("spec.hosts[%d]", i), h, "must be in lower case without a trailing dot")
		}
	}
	if err := errors.Join(c.errs...); err != nil {
		return Exemption{}, fmt.Errorf("EgressExemption %s: %w", e.Name, err)
	}
	return Exemption{
		Name: e.Name, ExpiresAt: e.Spec.ExpiresAt.UTC(),
		rules: ruleNames(e.Spec.Rules), kind: string(e.Spec.Kind), object: e.Spec.Name, hosts: e.Spec.Hosts,
	}, nil
}

// exemptHost is what an exemption may be for: also what no policy could allow, as
// a partial wildcard.
var exemptHost = regexp.MustCompile(`^[*]?[a-z0-9_.-]*[a-z0-9_-]$`)

func ruleNames(names []v1alpha1.RuleName) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// A Subject is what an exemption may cover: a finding of a rule about an object
// of the policy's namespace.
type Subject struct {
	Rule, Kind string
	// Name is the object's; empty if it is not made yet (generateName).
	Name string
	// Value is what the finding is about.
	Value string
}

// Exempted returns the exemption that covers the subject at the time now, or nil.
func (p *Policy) Exempted(s Subject, now time.Time) *Exemption {
	for i := range p.Exemptions {
		if e := &p.Exemptions[i]; e.covers(s, now) {
			return e
		}
	}
	return nil
}

func (e *Exemption) covers(s Subject, now time.Time) bool {
	if !now.Before(e.ExpiresAt) || e.kind != s.Kind || !slices.Contains(e.rules, s.Rule) {
		return false
	}
	if e.object != "" && e.object != s.Name {
		return false
	}
	if len(e.hosts) == 0 {
		return true
	}
	value := host.Normal(s.Value)
	return slices.ContainsFunc(e.hosts, func(h string) bool { return h == value || host.Approves(h, value) })
}
