// SPDX-License-Identifier: Apache-2.0

// Package drift finds out whether the API server still asks Sallyport what it was told
// to: whoever edits a webhook configuration can switch the gate off, for one kind or
// for all. It only tells; to put things back is for whoever applied the manifests.
package drift

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/webhook"
)

// Configurations are what the API server is told of Sallyport; nil is what is not there.
type Configurations struct {
	Policy     *admissionregistrationv1.ValidatingAdmissionPolicy
	Binding    *admissionregistrationv1.ValidatingAdmissionPolicyBinding
	Validating *admissionregistrationv1.ValidatingWebhookConfiguration
	Mutating   *admissionregistrationv1.MutatingWebhookConfiguration
}

// The kinds of configurations, as they stand in [Difference].
const (
	kindPolicy     = "ValidatingAdmissionPolicy"
	kindBinding    = "ValidatingAdmissionPolicyBinding"
	kindValidating = "ValidatingWebhookConfiguration"
	kindMutating   = "MutatingWebhookConfiguration"
)

// Parse reads manifests, separated by "---". It fails for one of another kind, for two
// of the same kind, and if there is no ValidatingWebhookConfiguration.
func Parse(data []byte) (*Configurations, error) {
	c := new(Configurations)
	into := map[string]any{}
	for i, document := range bytes.Split(append([]byte("\n"), data...), []byte("\n---\n")) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(document, &meta); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		if meta.Kind == "" {
			continue // only comments
		}
		target := c.target(meta.Kind)
		if target == nil {
			return nil, fmt.Errorf("document %d: %q is no configuration of webhooks or admission policies", i+1, meta.Kind)
		}
		if into[meta.Kind] != nil {
			return nil, fmt.Errorf("document %d: another %s", i+1, meta.Kind)
		}
		into[meta.Kind] = target
		if err := yaml.UnmarshalStrict(document, target); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	if c.Validating == nil {
		return nil, errors.New("there is no " + kindValidating)
	}
	return c, nil
}

// target makes room for one of the kind; nil if it is none of the four.
func (c *Configurations) target(kind string) any {
	switch kind {
	case kindPolicy:
		c.Policy = new(admissionregistrationv1.ValidatingAdmissionPolicy)
		return c.Policy
	case kindBinding:
		c.Binding = new(admissionregistrationv1.ValidatingAdmissionPolicyBinding)
		return c.Binding
	case kindValidating:
		c.Validating = new(admissionregistrationv1.ValidatingWebhookConfiguration)
		return c.Validating
	case kindMutating:
		c.Mutating = new(admissionregistrationv1.MutatingWebhookConfiguration)
		return c.Mutating
	}
	return nil
}

// A Difference is something that is not as it should be.
type Difference struct {
	// Kind and Name are those of the configuration.
	Kind, Name string
	// Webhook is the name of one; empty if it is about the whole configuration.
	Webhook string
	// Field is that of the API, "webhooks" for one that is missing or too many, or
	// "object" for a configuration that is missing: one of [Fields].
	Field string
	// Is and Want are JSON; empty is nothing.
	Is, Want string
}

// String says what it is in a sentence.
func (d Difference) String() string {
	switch what := d.Kind + " " + d.Name; {
	case d.Field == fieldObject:
		return what + " is missing"
	case d.Field == fieldWebhooks && d.Is == "":
		return fmt.Sprintf("%s: webhook %s is missing", what, d.Webhook)
	case d.Field == fieldWebhooks:
		return fmt.Sprintf("%s: webhook %s should not be there", what, d.Webhook)
	default:
		if d.Webhook != "" {
			what += ": webhook " + d.Webhook
		}
		return fmt.Sprintf("%s: %s is %s, should be %s", what, d.Field, orNothing(d.Is), orNothing(d.Want))
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

const (
	fieldObject   = "object"
	fieldWebhooks = "webhooks"
	fieldSpec     = "spec"
)

// Fields returns the values of [Difference.Field] by kind.
func Fields() map[string][]string {
	return map[string][]string{
		kindPolicy:     {fieldObject, fieldSpec},
		kindBinding:    {fieldObject, fieldSpec},
		kindValidating: fieldsOf(reflect.TypeFor[admissionregistrationv1.ValidatingWebhook]()),
		kindMutating:   fieldsOf(reflect.TypeFor[admissionregistrationv1.MutatingWebhook]()),
	}
}

func fieldsOf(hook reflect.Type) []string {
	fields := []string{fieldObject, fieldWebhooks}
	for f := range hook.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "name" {
			fields = append(fields, name)
		}
	}
	return fields
}

// Compare returns how what is there differs from what should be. What is written at run
// time makes no difference: CA bundles, and the matchCondition "needed" of the webhook
// for routes. Nor does what the API server fills in, or metadata.
func Compare(is, want *Configurations) []Difference {
	var all []Difference
	object := func(kind, name string, is, want any) {
		a, b := encode(is), encode(want)
		if a != b {
			all = append(all, Difference{Kind: kind, Name: name, Field: fieldSpec, Is: a, Want: b})
		}
	}
	missing := func(kind, name string) {
		all = append(all, Difference{Kind: kind, Name: name, Field: fieldObject})
	}
	if w := want.Policy; w != nil {
		if is.Policy == nil {
			missing(kindPolicy, w.Name)
		} else {
			object(kindPolicy, w.Name, policySpec(is.Policy), policySpec(w))
		}
	}
	if w := want.Binding; w != nil {
		if is.Binding == nil {
			missing(kindBinding, w.Name)
		} else {
			object(kindBinding, w.Name, is.Binding.Spec, w.Spec)
		}
	}
	if w := want.Validating; w != nil {
		if is.Validating == nil {
			missing(kindValidating, w.Name)
		} else {
			all = append(all, compareWebhooks(kindValidating, w.Name, validating(is.Validating), validating(w))...)
		}
	}
	if w := want.Mutating; w != nil {
		if is.Mutating == nil {
			missing(kindMutating, w.Name)
		} else {
			all = append(all, compareWebhooks(kindMutating, w.Name, mutating(is.Mutating), mutating(w))...)
		}
	}
	return all
}

// A hook is a webhook by the fields of its JSON, each encoded.
type hook map[string]string

func compareWebhooks(kind, name string, is, want map[string]hook) []Difference {
	var all []Difference
	for _, hook := range slices.Sorted(maps.Keys(want)) {
		there, ok := is[hook]
		if !ok {
			all = append(all, Difference{Kind: kind, Name: name, Webhook: hook, Field: fieldWebhooks, Want: hook})
			continue
		}
		fields := maps.Clone(there)
		maps.Copy(fields, want[hook])
		for _, field := range slices.Sorted(maps.Keys(fields)) {
			if a, b := there[field], want[hook][field]; a != b {
				all = append(all, Difference{Kind: kind, Name: name, Webhook: hook, Field: field, Is: a, Want: b})
			}
		}
	}
	for _, hook := range slices.Sorted(maps.Keys(is)) {
		if want[hook] == nil {
			all = append(all, Difference{Kind: kind, Name: name, Webhook: hook, Field: fieldWebhooks, Is: hook})
		}
	}
	return all
}

func validating(c *admissionregistrationv1.ValidatingWebhookConfiguration) map[string]hook {
	hooks := map[string]hook{}
	for _, w := range c.DeepCopy().Webhooks {
		w.MatchConditions = withoutNeeded(w.Name, w.MatchConditions)
		setDefaults(&w.ClientConfig, w.Rules, &w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds)
		hooks[w.Name] = fields(w)
	}
	return hooks
}

func mutating(c *admissionregistrationv1.MutatingWebhookConfiguration) map[string]hook {
	hooks := map[string]hook{}
	for _, w := range c.DeepCopy().Webhooks {
		w.MatchConditions = withoutNeeded(w.Name, w.MatchConditions)
		setDefaults(&w.ClientConfig, w.Rules, &w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds)
		fill(&w.ReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
		hooks[w.Name] = fields(w)
	}
	return hooks
}

// setDefaults fills in what the API server does (Kubernetes 1.37,
// pkg/apis/admissionregistration/v1/defaults.go), and forgets the CA bundle.
func setDefaults(client *admissionregistrationv1.WebhookClientConfig, rules []admissionregistrationv1.RuleWithOperations,
	failure **admissionregistrationv1.FailurePolicyType, match **admissionregistrationv1.MatchPolicyType,
	namespaces, objects **metav1.LabelSelector, timeout **int32,
) {
	client.CABundle = nil
	if client.Service != nil {
		fill(&client.Service.Port, 443)
	}
	fill(failure, admissionregistrationv1.Fail)
	fill(match, admissionregistrationv1.Equivalent)
	fill(namespaces, metav1.LabelSelector{})
	fill(objects, metav1.LabelSelector{})
	fill(timeout, 10)
	for i := range rules {
		fill(&rules[i].Scope, admissionregistrationv1.AllScopes)
	}
}

func fill[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// withoutNeeded leaves out the condition that Sallyport writes itself.
func withoutNeeded(name string, conditions []admissionregistrationv1.MatchCondition) []admissionregistrationv1.MatchCondition {
	return slices.DeleteFunc(conditions, func(c admissionregistrationv1.MatchCondition) bool { return webhook.IsRouteCondition(name, &c) })
}

func policySpec(p *admissionregistrationv1.ValidatingAdmissionPolicy) *admissionregistrationv1.ValidatingAdmissionPolicySpec {
	spec := p.Spec.DeepCopy()
	fill(&spec.FailurePolicy, admissionregistrationv1.Fail)
	if m := spec.MatchConstraints; m != nil {
		fill(&m.MatchPolicy, admissionregistrationv1.Equivalent)
		fill(&m.NamespaceSelector, metav1.LabelSelector{})
		fill(&m.ObjectSelector, metav1.LabelSelector{})
	}
	return spec
}

// fields takes the webhook apart. Names are no field: they are what it is found by.
func fields(w any) hook {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(encode(w)), &raw); err != nil {
		panic(err) // what has just been encoded
	}
	h := hook{}
	for name, value := range raw {
		if text := string(value); name != "name" && text != "null" {
			h[name] = text
		}
	}
	return h
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // an API type
	}
	return string(text)
}
