// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// expiresSoon is how long before its end somebody should know of an exemption.
const expiresSoon = 7 * 24 * time.Hour

// policies says whether what users have written is in force.
func policies(ctx context.Context, opts *Options) *Section {
	s := &Section{Name: "Policies"}
	var standards v1alpha1.EgressPolicyList
	var exemptions v1alpha1.EgressExemptionList
	if s.missed(list(ctx, opts, "egresspolicies", &standards)) || s.missed(list(ctx, opts, "egressexemptions", &exemptions)) {
		return s
	}
	for i := range standards.Items {
		p := &standards.Items[i]
		s.accepted("EgressPolicy "+p.Name, p.Status.Conditions)
	}
	for i := range exemptions.Items {
		e := &exemptions.Items[i]
		s.accepted("EgressExemption "+e.Name, e.Status.Conditions)
		switch left := e.Spec.ExpiresAt.Sub(opts.Now); {
		case left <= 0:
			s.fact(fmt.Sprintf("EgressExemption %s has expired and can be deleted", e.Name))
		case left <= expiresSoon:
			s.problem(fmt.Sprintf("EgressExemption %s expires on %s: what it covers in namespace %s is refused from then on; see whether it is still needed",
				e.Name, e.Spec.ExpiresAt.UTC().Format(time.RFC3339), e.Spec.Namespace))
		}
	}
	s.fact(fmt.Sprintf("EgressPolicies: %d, EgressExemptions: %d", len(standards.Items), len(exemptions.Items)))
	return s
}

func (s *Section) accepted(what string, conditions []metav1.Condition) {
	switch c := meta.FindStatusCondition(conditions, "Accepted"); {
	case c == nil:
		s.problem(what + " has no status yet: no server has read it")
	case c.Status != metav1.ConditionTrue:
		s.problem(fmt.Sprintf("%s is not in force as it is: %s", what, c.Message))
	}
}

func list(ctx context.Context, opts *Options, resource string, into any) error {
	found, err := opts.Dynamic.Resource(v1alpha1.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(found.UnstructuredContent(), into)
}
