// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"math"
	"slices"
	"time"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var timeout = &analysis.Rule{
	Name:     "virtualservice/timeout",
	Severity: analysis.Warning,
	Doc: `timeouts of routes must leave room for their retries

The timeout of an HTTP route covers all tries and the pauses between them. So
perTryTimeout must be shorter than timeout: if it is not, Envoy ignores it, and
there never is a second try.

Where retryOn has 5xx, gateway-error or reset, a try that hangs is worth another
one, but only perTryTimeout ends it in time. Without one the first try can use
up the whole timeout. Other conditions, such as connect-failure or
refused-stream, and those that Istio takes if there are none, mean that the
request never was at work: a try that hangs is not retried for them, and
perTryTimeout is not asked for. Nor is it where the timeout or the retries are
those that the policy fills in: then the choice was not the author's.

A route to an external host must not wait longer than limits.maxTimeout of the
policy, five minutes unless it says otherwise: a hanging supplier holds
connections and memory of the caller, whether that is a sidecar or a gateway.
That such a route has a timeout at all is checked only where a policy gives this
rule an action, since mutate/timeout fills it in.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkTimeout),
}

func checkTimeout(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		path := httpPath.Index(i)
		checkBudget(pass, path, r)
		if leadsOut(pass, vs, r) {
			checkExternalTimeout(pass, path, r)
		}
	}
}

// checkBudget compares the time for one try with the time for all.
func checkBudget(pass *analysis.Pass, path *field.Path, r *networking.HTTPRoute) {
	attempts := r.GetRetries().GetAttempts()
	if attempts < 1 || r.GetTimeout() == nil {
		return
	}
	tries := int64(attempts) + 1
	total, perTry := r.GetTimeout().AsDuration(), r.GetRetries().GetPerTryTimeout()
	switch {
	case perTry != nil && perTry.AsDuration() >= total:
		pass.Report(field.Invalid(path.Child("retries", "perTryTimeout"), perTry.AsDuration().String(), fmt.Sprintf(
			"must be shorter than the route's timeout of %s, which covers all tries; for %d tries of that length, set `timeout` to more than %s",
			total, tries, times(perTry.AsDuration(), tries))))
	case perTry == nil && route.RetriesHangingTries(r.GetRetries().GetRetryOn()) && !isFilledIn(&pass.Policy.Defaults, r):
		pass.Report(field.Invalid(path.Child("timeout"), total.String(), fmt.Sprintf(
			"may be used up by the first try, so that none of the %d retries happens; set `retries.perTryTimeout` to less than %s",
			attempts, (total/time.Duration(tries)).Round(time.Millisecond))))
	}
}

// times returns n times d, or the longest duration if that is too much.
func times(d time.Duration, n int64) time.Duration {
	if int64(d) > math.MaxInt64/n {
		return math.MaxInt64
	}
	return d * time.Duration(n)
}

// isFilledIn reports whether the route's timeout or retries are the policy's, as
// those are that a mutator has set.
func isFilledIn(defaults *policy.Defaults, r *networking.HTTPRoute) bool {
	if defaults.Timeout != nil && *defaults.Timeout == r.GetTimeout().AsDuration() {
		return true
	}
	retries := defaults.Retries
	return retries != nil && retries.Attempts == r.GetRetries().GetAttempts() && retries.RetryOn == r.GetRetries().GetRetryOn()
}

// checkExternalTimeout looks at how long callers may have to wait for a host
// outside the mesh.
func checkExternalTimeout(pass *analysis.Pass, path *field.Path, r *networking.HTTPRoute) {
	limit := pass.Policy.Limits.MaxTimeout
	switch t := r.GetTimeout(); {
	case t == nil && r.GetFault() == nil:
		pass.ReportAs(analysis.Off, field.Required(path.Child("timeout"),
			"a route to an external host must not wait for ever; set how long callers can wait, such as '15s'"))
	case t != nil && t.AsDuration() > limit:
		pass.Report(field.Invalid(path.Child("timeout"), t.AsDuration().String(), fmt.Sprintf(
			"must be less than or equal to %s for an external host, whose delays hold the caller's connections", limit)))
	}
}

// leadsOut reports whether the route forwards to a host outside the mesh.
func leadsOut(pass *analysis.Pass, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	return slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool {
		_, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), d.GetDestination())
		return external
	})
}
