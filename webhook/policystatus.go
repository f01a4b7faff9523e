// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// An EventRecorder tells people of what happened to an object
// (k8s.io/client-go/tools/record has one).
type EventRecorder interface {
	Event(object runtime.Object, eventType, reason, message string)
}

// A policyState is what became of all policies and exemptions.
type policyState struct {
	policies   []judged[*v1alpha1.EgressPolicy]
	exemptions []judged[*v1alpha1.EgressExemption]
}

// A statusWriter writes what became of policies into their status. Every replica
// writes, and all write the same; what stands there already is not written again.
type statusWriter struct {
	cache  cache.Cache
	client client.Client
	events EventRecorder
	log    logr.Logger

	state atomic.Pointer[policyState]
	wake  chan struct{}
}

func (w *statusWriter) notify() { wake(w.wake) }

// Pauses keep a busy cluster's namespaces from making the writer count them all the
// time.
const (
	statusPause = 200 * time.Millisecond
	statusRetry = 5 * time.Second // after a failure
)

func (w *statusWriter) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		pause := statusPause
		if err := w.write(ctx); err != nil && ctx.Err() == nil {
			w.log.Error(err, "Could not write the status of policies, will try again")
			pause = statusRetry
			w.notify()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (w *statusWriter) write(ctx context.Context) error {
	state := w.state.Load()
	if state == nil {
		return nil
	}
	var namespaces corev1.NamespaceList
	if err := w.cache.List(ctx, &namespaces, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	matches := policy.Match(policiesOf(state), namespaces.Items)
	for i, j := range state.policies {
		updated := j.object.DeepCopy()
		updated.Status.ObservedGeneration = j.object.GetGeneration()
		updated.Status.MatchedNamespaces = int32(matches[i].Namespaces) //nolint:gosec // fewer than 2^31
		w.setConditions(&updated.Status.Conditions, j.object, j.err, j.inForce)
		setConflict(&updated.Status.Conditions, j.object.GetGeneration(), matches[i])
		if equality.Semantic.DeepEqual(j.object.Status, updated.Status) {
			continue
		}
		if err := w.patch(ctx, updated, j.object); err != nil {
			return err
		}
		j.object.Status = updated.Status
	}
	for _, j := range state.exemptions {
		updated := j.object.DeepCopy()
		updated.Status.ObservedGeneration = j.object.GetGeneration()
		w.setConditions(&updated.Status.Conditions, j.object, j.err, j.inForce)
		if equality.Semantic.DeepEqual(j.object.Status, updated.Status) {
			continue
		}
		if err := w.patch(ctx, updated, j.object); err != nil {
			return err
		}
		j.object.Status = updated.Status
	}
	return nil
}

func policiesOf(state *policyState) []*v1alpha1.EgressPolicy {
	policies := make([]*v1alpha1.EgressPolicy, len(state.policies))
	for i, j := range state.policies {
		policies[i] = j.object
	}
	return policies
}

// patch writes a status. That the object is gone or newer is no error: then there
// will be another change to look at.
func (w *statusWriter) patch(ctx context.Context, updated, before client.Object) error {
	err := w.client.Status().Patch(ctx, updated, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// setConditions says whether the newest generation is valid and in force, and
// tells an event when it is not.
func (w *statusWriter) setConditions(conditions *[]metav1.Condition, object client.Object, err error, inForce int64) {
	generation := object.GetGeneration()
	accepted := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: "Valid", Message: "The object is valid.",
	}
	programmed := metav1.Condition{
		Type: v1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: "InForce", Message: fmt.Sprintf("Generation %d is in force.", generation),
	}
	if err != nil {
		accepted.Status, accepted.Reason, accepted.Message = metav1.ConditionFalse, "Invalid", cut(err.Error(), maxConditionMessage)
		programmed.Status, programmed.Reason = metav1.ConditionFalse, "Invalid"
		programmed.Message = "No valid generation is known; none is in force."
		if inForce != 0 {
			programmed.Message = fmt.Sprintf("Generation %d, the last that was valid, remains in force.", inForce)
		}
	}
	meta.SetStatusCondition(conditions, programmed)
	if meta.SetStatusCondition(conditions, accepted) && err != nil {
		w.events.Event(object, corev1.EventTypeWarning, "Invalid", accepted.Message+" "+programmed.Message)
	}
}

// maxConditionMessage keeps the status small; the API's own bound is 32768.
const maxConditionMessage = 1024

// setConflict says whether another policy of the same priority says something else
// where there can be only one value.
func setConflict(conditions *[]metav1.Condition, generation int64, m policy.Matched) {
	c := metav1.Condition{
		Type: v1alpha1.ConditionConflicted, Status: metav1.ConditionFalse, ObservedGeneration: generation,
		Reason: "None", Message: "No other policy of the same priority says otherwise.",
	}
	if m.Conflict != "" {
		c.Status, c.Reason = metav1.ConditionTrue, "SamePriority"
		c.Message = fmt.Sprintf("EgressPolicy %s has the same priority and another %s for namespaces that both select, as %s; the first name in the alphabet wins. Give one of them another priority.",
			m.Conflict, m.Field, m.Namespace)
	}
	meta.SetStatusCondition(conditions, c)
}
