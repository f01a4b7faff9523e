// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var retries = &analysis.Mutator{
	Name: "mutate/retries",
	Doc: `give HTTP routes to external hosts the policy's retries

A route without retries gets those of the mesh, which differ from mesh to mesh.
The built-in policy retries twice, and only requests that never were at work:
when no connection was made, or when it was refused or reset before the request
was sent. That is safe for every method.

A route that has retries keeps them, also when they are empty: "retries: {}" and
"attempts: 0" say that there shall be none. Left alone are redirects, direct
responses and delegations, routes with fault injection, to which Istio applies
no retries, routes that also lead to hosts inside the mesh, and routes that only
ingress gateways use: what happens there is none of egress. A delegate is filled
in itself, not where it is named.

The policy's perTryTimeout is set only where it has an effect and leaves room
for all tries: the conditions include 5xx, gateway-error or reset, and the route
has a timeout that is long enough.

To opt out, annotate the object with sallyport.dev/inject: none, or with a list
of what shall be filled in, such as "timeout". The annotation counts for nothing
where the policy's gateway or waypoint has mode Require.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Apply: analysis.To(applyRetries),
}

func applyRetries(edit *analysis.Edit, vs *networkingv1.VirtualService) {
	for i, r := range egressRoutes(edit, vs) {
		if fillRetries(edit, r) {
			edit.Set(httpPath.Index(i).Child("retries"), r.GetRetries())
		}
	}
}

// fillRetries gives a route the retries that it lacks, if it shall have some.
func fillRetries(edit *analysis.Edit, r *networking.HTTPRoute) bool {
	defaults := edit.Policy.Defaults.Retries
	if defaults == nil || r.GetRetries() != nil {
		return false
	}
	r.Retries = &networking.HTTPRetry{Attempts: defaults.Attempts, RetryOn: defaults.RetryOn}
	if perTryFits(defaults, r) {
		r.Retries.PerTryTimeout = durationpb.New(*defaults.PerTryTimeout)
	}
	return true
}

// perTryFits reports whether the policy's perTryTimeout does something on the
// route and still leaves time for all tries.
func perTryFits(defaults *policy.Retries, r *networking.HTTPRoute) bool {
	if defaults.PerTryTimeout == nil || r.GetTimeout() == nil {
		return false
	}
	return route.RetriesHangingTries(defaults.RetryOn) && time.Duration(defaults.Attempts+1)**defaults.PerTryTimeout <= r.GetTimeout().AsDuration()
}
