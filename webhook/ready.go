// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// readiness knows whether the server can judge.
type readiness struct {
	conditions map[string]func(context.Context) error

	wasReady atomic.Bool
	stopped  atomic.Bool
}

// check asks all conditions and returns those that are not fulfilled.
func (r *readiness) check(ctx context.Context) error {
	if r.stopped.Load() {
		return errors.New("the server is shutting down")
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.conditions)) {
		if err := r.conditions[name](ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(errs) == 0 {
		r.wasReady.Store(true)
	}
	return errors.Join(errs...)
}

// started returns nil once all conditions have been fulfilled together. Then a
// server judges with what it has, also while it drains.
func (r *readiness) started(ctx context.Context) error {
	if r.wasReady.Load() {
		return nil
	}
	return r.check(ctx)
}

func (r *readiness) stop() { r.stopped.Store(true) }

// selfReview is an object that the catalogue denies whatever the mesh is: a
// STATIC ServiceEntry without endpoints.
const selfReview = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry",` +
	`"metadata":{"name":"self-review","namespace":"default"},` +
	`"spec":{"hosts":["self-review.example.com"],"resolution":"STATIC","ports":[{"number":443,"name":"tls","protocol":"TLS"}]}}`

// newSelfReview returns a condition that judges an object whose verdict is
// known, under the built-in policy, and fails if the answer is wrong.
func newSelfReview(opts Options) func(context.Context) error {
	e := &evaluator{
		suite: opts.Suite, config: opts.Config, policies: builtinPolicy{}, now: opts.Now, log: logr.Discard(),
		metrics: newMetrics(prometheus.NewRegistry()), // not counted
	}
	req := &admissionv1.AdmissionRequest{
		UID:       "self-review",
		Kind:      metav1.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "ServiceEntry"},
		Namespace: "default",
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: []byte(selfReview)},
	}
	return func(ctx context.Context) error {
		ans, err := e.validate(ctx, req)
		if err != nil {
			return err
		}
		if ans.response.Allowed {
			return errors.New("an object that must be denied was allowed")
		}
		return nil
	}
}
