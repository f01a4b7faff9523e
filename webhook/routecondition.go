// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A RouteCondition keeps the API server from asking about ways through gateways and
// waypoints, and about exportTo, as long as no policy has anything to do with them:
// every call costs a millisecond. To do so it owns one matchCondition of one webhook
// in deploy/webhooks.yaml, by server-side apply. While that is missing or late, the
// API server asks for nothing, or does not complete what the validator then judges as
// it is.
type RouteCondition struct {
	client kubernetes.Interface
	name   string
	log    logr.Logger
	needed atomic.Pointer[bool] // nil until policies are known
	wake   chan struct{}
}

// What a RouteCondition owns.
const (
	routeWebhook     = "route.sallyport.dev"
	neededCondition  = "needed"
	routeFieldOwner  = "sallyport-routes"
	routeResync      = time.Minute
	routeRetry       = 5 * time.Second
	expressionNeeded = "true"
	// Without a need only what was led through a gateway before is asked about, to
	// take that away.
	expressionNotNeeded = `object.metadata.?annotations[?'sallyport.dev/injected'].hasValue()` +
		` || object.?spec.?http.orValue([]).exists(r, r.?name.orValue('').startsWith('sallyport-mesh-'))`
)

// IsRouteCondition reports whether the condition of the webhook is one that a
// [RouteCondition] has written, and not somebody else under its name.
func IsRouteCondition(webhook string, c *admissionregistrationv1.MatchCondition) bool {
	return webhook == routeWebhook && c.Name == neededCondition &&
		(c.Expression == expressionNeeded || c.Expression == expressionNotNeeded)
}

// NewRouteCondition returns one for the MutatingWebhookConfiguration of the name. It
// changes nothing until it runs and is told of policies.
func NewRouteCondition(client kubernetes.Interface, name string, log logr.Logger) *RouteCondition {
	return &RouteCondition{client: client, name: name, log: log, wake: make(chan struct{}, 1)}
}

// Set tells of new policies. It does not block.
func (c *RouteCondition) Set(set *policy.Set) {
	c.needed.Store(new(set.LeadsRoutes()))
	wake(c.wake)
}

// Run keeps the condition up to date until ctx is done.
func (c *RouteCondition) Run(ctx context.Context) error {
	for {
		next := routeResync
		if err := c.update(ctx); err != nil && ctx.Err() == nil {
			next = routeRetry
			c.log.Error(err, "Could not tell the API server what to ask about, will try again", "webhook", routeWebhook)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-time.After(next):
		}
	}
}

func (c *RouteCondition) update(ctx context.Context) error {
	needed := c.needed.Load()
	if needed == nil {
		return nil
	}
	want := expressionNotNeeded
	if *needed {
		want = expressionNeeded
	}
	api := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	current, err := api.Get(ctx, c.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // it is not installed yet
	}
	if err != nil {
		return fmt.Errorf("read MutatingWebhookConfiguration %s: %w", c.name, err)
	}
	if got, ok := expressionOf(current); !ok || got == want {
		return nil
	}
	apply := applyv1.MutatingWebhookConfiguration(c.name).WithUID(current.UID).WithWebhooks(applyv1.MutatingWebhook().WithName(routeWebhook).
		WithMatchConditions(applyv1.MatchCondition().WithName(neededCondition).WithExpression(want)))
	if _, err = api.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: routeFieldOwner, Force: true}); err != nil {
		return fmt.Errorf("apply MutatingWebhookConfiguration %s: %w", c.name, err)
	}
	c.log.Info("Told the API server whether to ask about routes", "needed", *needed)
	return nil
}

// expressionOf returns the condition as it is; ok is false if there is no such
// webhook.
func expressionOf(config *admissionregistrationv1.MutatingWebhookConfiguration) (expression string, ok bool) {
	for _, w := range config.Webhooks {
		if w.Name != routeWebhook {
			continue
		}
		for _, condition := range w.MatchConditions {
			if condition.Name == neededCondition {
				return condition.Expression, true
			}
		}
		return "", true
	}
	return "", false
}
