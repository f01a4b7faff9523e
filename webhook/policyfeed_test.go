// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

func generation(name string, n int64, hosts ...string) *v1alpha1.EgressPolicy {
	p := &v1alpha1.EgressPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: n}}
	p.Spec.NamespaceSelector = &metav1.LabelSelector{}
	for _, h := range hosts {
		p.Spec.Hosts.Denied = append(p.Spec.Hosts.Denied, v1alpha1.DeniedHost{Host: h})
	}
	return p
}

// TestJudge: what is not valid changes nothing. The API server refuses such
// objects; they come of a change of our own rules for them.
func TestJudge(t *testing.T) {
	valid := map[string]*v1alpha1.EgressPolicy{}
	check := func(objects ...*v1alpha1.EgressPolicy) []judged[*v1alpha1.EgressPolicy] {
		return judge(valid, objects, policy.CheckPolicy)
	}
	require.EqualValues(t, 1, check(generation("a", 1, "x.example.com"))[0].inForce)

	result := check(generation("a", 2, "NOT VALID"), generation("b", 1, "NOT VALID"))
	require.Error(t, result[0].err)
	require.EqualValues(t, 1, result[0].inForce, "the last valid generation remains in force")
	require.Error(t, result[1].err)
	require.Zero(t, result[1].inForce, "there never was a valid one")
	require.Len(t, valid, 1)
	require.Equal(t, "x.example.com", valid["a"].Spec.Hosts.Denied[0].Host)

	require.EqualValues(t, 3, check(generation("a", 3, "y.example.com"))[0].inForce)
	check()
	require.Empty(t, valid, "what is deleted is not in force")
}

type events []string

func (e *events) Event(_ runtime.Object, eventType, reason, message string) {
	*e = append(*e, eventType+" "+reason+": "+message)
}

// TestConditions: that an object is not valid is told by conditions, and once by
// an event.
func TestConditions(t *testing.T) {
	var told events
	w := &statusWriter{events: &told}
	p := generation("a", 2)
	for range 2 {
		w.setConditions(&p.Status.Conditions, p, errors.New("EgressPolicy a: spec.hosts: wrong"), 1)
	}
	accepted := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionAccepted)
	require.Equal(t, metav1.ConditionFalse, accepted.Status)
	require.Equal(t, "EgressPolicy a: spec.hosts: wrong", accepted.Message)
	require.EqualValues(t, 2, accepted.ObservedGeneration)
	programmed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionProgrammed)
	require.Equal(t, metav1.ConditionFalse, programmed.Status)
	require.Equal(t, "Generation 1, the last that was valid, remains in force.", programmed.Message)
	require.Equal(t, events{"Warning Invalid: EgressPolicy a: spec.hosts: wrong Generation 1, the last that was valid, remains in force."}, told)

	w.setConditions(&p.Status.Conditions, p, errors.New("wrong"), 0)
	programmed = meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionProgrammed)
	require.Equal(t, "No valid generation is known; none is in force.", programmed.Message)
	w.setConditions(&p.Status.Conditions, p, nil, 2)
	require.True(t, meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionAccepted))
	require.True(t, meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionProgrammed))
}
