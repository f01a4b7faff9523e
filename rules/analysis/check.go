// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A Suite is a list of rules, ready to run. It is immutable and safe for
// concurrent use.
type Suite struct {
	rules  []*Rule
	byType map[reflect.Type][]ruleCheck
}

type ruleCheck struct {
	rule *Rule
	run  func(*Pass, Object)
}

// NewSuite returns the suite of the rules, which findings follow in order. It
// fails if [Validate] does.
func NewSuite(rules ...*Rule) (*Suite, error) {
	if err := Validate(rules); err != nil {
		return nil, err
	}
	s := &Suite{rules: rules, byType: map[reflect.Type][]ruleCheck{}}
	for _, r := range rules {
		for _, c := range r.Run {
			s.byType[c.typ] = append(s.byType[c.typ], ruleCheck{rule: r, run: c.run})
		}
	}
	return s, nil
}

// Rules returns the rules in order. The slice must not be changed.
func (s *Suite) Rules() []*Rule { return s.rules }

// Checks reports whether there is a rule for objects of the kind.
func (s *Suite) Checks(kind *Kind) bool { return len(s.byType[kind.typ]) > 0 }

// Denies reports whether the policy lets a rule for objects of the kind deny at
// the time now.
func (s *Suite) Denies(kind *Kind, pol *policy.Policy, now time.Time) bool {
	if kind == nil {
		return false
	}
	for _, c := range s.byType[kind.typ] {
		if action, _ := ActionOf(c.rule, pol, now); action == policy.Deny {
			return true
		}
	}
	return false
}

// ActionOf returns what a policy makes of a rule's findings at the rule's own
// severity, and from when on they deny if they do not yet.
func ActionOf(r *Rule, pol *policy.Policy, now time.Time) (action policy.Action, from time.Time) {
	return pol.Action(r.Name, defaultAction(r.Severity), now)
}

// A Result is what [Check] found out about one object.
type Result struct {
	// Findings are in the order of the suite and, within a rule, of reporting.
	// Those whose action is Off are left out.
	Findings []Finding
	// NotEvaluated lists what could not be told.
	NotEvaluated []NotEvaluated
	// Panics are failures of rules. The verdict is incomplete if there are any.
	Panics []*PanicError
}

// Denied reports whether a finding denies the object.
func (r Result) Denied() bool {
	for i := range r.Findings {
		if r.Findings[i].Verdict.Action == policy.Deny {
			return true
		}
	}
	return false
}

// A Verdict is what a policy makes of a finding.
type Verdict struct {
	// Action is what the finding leads to, after everything below.
	Action policy.Action
	// EnforceFrom is when a finding that the policy does not let deny yet will, or
	// zero.
	EnforceFrom time.Time
	// Unchanged is set when the object had the same finding before the update.
	Unchanged bool
	// Exemption names the exemption that covers the finding, or is empty.
	// ExemptUntil is when it ends, and ExemptFrom the action without it.
	Exemption   string
	ExemptUntil time.Time
	ExemptFrom  policy.Action
}

// A PanicError is a rule or mutator that panicked.
type PanicError struct {
	// Name is that of the rule or mutator.
	Name  string
	Value any
	Stack []byte
}

// Error implements error. The stack is not part of it.
func (e *PanicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.Name, e.Value) }

// Check runs the suite's rules over the object. It does not change the object,
// takes no locks of its own and never panics.
func Check(suite *Suite, input Input) Result {
	in := input.withDefaults()
	var res Result
	checks := suite.byType[reflect.TypeOf(in.Object)]
	for _, c := range checks {
		runRule(c, in.Object, &in, &res)
	}
	if len(res.Findings) == 0 {
		return res
	}
	var before map[identity]int
	if in.Old != nil && reflect.TypeOf(in.Old) == reflect.TypeOf(in.Object) {
		before = oldFindings(checks, &in, &res)
	}
	kept := res.Findings[:0]
	for _, f := range res.Findings {
		f.Verdict = judge(&in, &f, before)
		if f.Verdict.Action != policy.Off {
			kept = append(kept, f)
		}
	}
	res.Findings = kept
	return res
}

// oldFindings counts what the rules with findings say of the old object.
func oldFindings(checks []ruleCheck, in *Input, res *Result) map[identity]int {
	var old Result
	for _, c := range checks {
		for i := range res.Findings {
			if res.Findings[i].Rule == c.rule {
				runRule(c, in.Old, in, &old)
				break
			}
		}
	}
	res.Panics = append(res.Panics, old.Panics...)
	before := make(map[identity]int, len(old.Findings))
	for i := range old.Findings {
		before[identify(&old.Findings[i])]++
	}
	return before
}

func judge(in *Input, f *Finding, before map[identity]int) Verdict {
	action, from := in.Policy.Action(f.Rule.Name, defaultAction(f.Severity), in.Now)
	v := Verdict{Action: action, EnforceFrom: from}
	if action != policy.Off && len(in.Policy.Exemptions) > 0 {
		if e := in.Policy.Exempted(subject(f), in.Now); e != nil {
			return Verdict{Action: policy.Audit, Exemption: e.Name, ExemptUntil: e.ExpiresAt, ExemptFrom: action}
		}
	}
	if id := identify(f); before[id] > 0 {
		before[id]--
		v.Unchanged = true
		if action == policy.Deny && in.Policy.ExistingViolations != policy.DenyExisting {
			v.Action = policy.Warn
		}
	}
	return v
}

func subject(f *Finding) policy.Subject {
	return policy.Subject{
		Rule: f.Rule.Name, Kind: KindOf(f.Object).Kind, Name: f.Object.GetName(), Value: fmt.Sprint(f.BadValue),
	}
}

func defaultAction(s Severity) policy.Action {
	switch s {
	case Error:
		return policy.Deny
	case Warning:
		return policy.Warn
	default:
		return policy.Off
	}
}

// identity is what makes a finding of the new object the same as one of the
// old: not its path, since indices move.
type identity struct {
	rule  string
	typ   field.ErrorType
	value string
}

func identify(f *Finding) identity {
	return identity{rule: f.Rule.Name, typ: f.Type, value: fmt.Sprint(f.BadValue)}
}

func runRule(c ruleCheck, obj Object, in *Input, res *Result) {
	defer func() {
		if v := recover(); v != nil {
			res.Panics = append(res.Panics, &PanicError{Name: c.rule.Name, Value: v, Stack: debug.Stack()})
		}
	}()
	pass := &Pass{
		await: in.Await,
		Rule:  c.rule, Policy: in.Policy, Config: in.Config, Mesh: in.Mesh,
		obj: obj, findings: &res.Findings, notEvaluated: &res.NotEvaluated,
	}
	if obj == in.Object {
		pass.Unknown = in.Unknown
	}
	c.run(pass, obj)
}
