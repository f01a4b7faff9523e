// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var retries = &analysis.Rule{
	Name:     "virtualservice/retries",
	Severity: analysis.Warning,
	Doc: `retries must not repeat what a request has done

A request that timed out, was cut off or got an error may have been carried out
all the same. To send a POST again then can book, order or pay twice, and the
other side is not ours to repair.

The rule looks at HTTP routes with a destination outside the mesh, or an egress
gateway, whose retries are on. It warns of the conditions 5xx, gateway-error,
reset, retriable-4xx, retriable-headers, internal and deadline-exceeded and of
any status code in retryOn, unless every match of the route asks for a method
that may be repeated: GET, HEAD, OPTIONS, TRACE, PUT or DELETE, exactly or as
alternatives of a regex such as 'GET|HEAD'. Earlier routes are not regarded.

Conditions that mean that the request was not carried out pass for all methods:
connect-failure, refused-stream, reset-before-request and others. So does
retriable-status-codes: without a code in the list, which is reported, Istio
gives Envoy no code to retry. Routes with retries as the policy fills them in
pass too.

More attempts than limits.maxRetryAttempts of the policy, five unless it says
otherwise, turn a short outage of the other side into a long one, and are
reported for every method.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkRetries),
}

func checkRetries(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		attempts := r.GetRetries().GetAttempts()
		if attempts < 1 || !leadsOut(pass, vs, r) && !leadsToGateway(pass, vs, r) {
			continue
		}
		path := httpPath.Index(i).Child("retries")
		if limit := pass.Policy.Limits.MaxRetryAttempts; int(attempts) > limit {
			pass.Report(field.Invalid(path.Child("attempts"), attempts, fmt.Sprintf(
				"must be less than or equal to %d for an external host, which retries of all callers keep from recovering", limit)))
		}
		if isRepeatable(r) || areDefault(pass.Policy.Defaults.Retries, r.GetRetries()) {
			continue
		}
		if unsafe := unsafeConditions(r.GetRetries().GetRetryOn()); len(unsafe) > 0 {
			pass.Report(field.Invalid(path.Child("retryOn"), r.GetRetries().GetRetryOn(), fmt.Sprintf(
				"must not repeat requests that may have been carried out, such as a POST; remove '%s', or match `method` GET or others that may be repeated", strings.Join(unsafe, ","))))
		}
	}
}

// leadsToGateway reports whether the route forwards to an egress gateway.
func leadsToGateway(pass *analysis.Pass, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	return slices.ContainsFunc(r.GetRoute(), func(d *networking.HTTPRouteDestination) bool {
		return gatewayByService(pass.Config, vs.GetNamespace(), d.GetDestination()) != nil
	})
}

func areDefault(defaults *policy.Retries, r *networking.HTTPRetry) bool {
	return defaults != nil && defaults.Attempts == r.GetAttempts() && defaults.RetryOn == r.GetRetryOn()
}

// unsafeConditions returns those under which a request may have been carried
// out. Like istiod it reads numbers as status codes (istio.io/istio v1.31,
// pilot/pkg/networking/core/route/retry/retry.go, parseRetryOn).
func unsafeConditions(retryOn string) []string {
	var unsafe []string
	for condition := range strings.SplitSeq(retryOn, ",") {
		condition = strings.ToLower(strings.TrimSpace(condition))
		switch condition {
		case "5xx", "gateway-error", "reset", "retriable-4xx", "retriable-headers", "internal", "deadline-exceeded":
			unsafe = append(unsafe, condition)
		default:
			if code, err := strconv.Atoi(condition); err == nil && code >= 100 && code < 600 {
				unsafe = append(unsafe, condition)
			}
		}
	}
	return unsafe
}

// isRepeatable reports whether the route takes only methods that do no more when
// they come twice (RFC 9110, section 9.2.2).
func isRepeatable(r *networking.HTTPRoute) bool {
	matches := r.GetMatch()
	return len(matches) > 0 && !slices.ContainsFunc(matches, func(m *networking.HTTPMatchRequest) bool {
		return slices.ContainsFunc(methods(m.GetMethod()), func(method string) bool {
			return !slices.Contains(idempotent, method)
		})
	})
}

var idempotent = []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}

// methods returns what a match on the method matches, or what is no method if
// that is not plain.
func methods(m *networking.StringMatch) []string {
	regex := m.GetRegex()
	if regex == "" {
		return []string{m.GetExact()}
	}
	regex = strings.TrimSuffix(strings.TrimPrefix(regex, "^"), "$")
	if inside, ok := strings.CutPrefix(regex, "("); ok {
		regex = strings.TrimSuffix(inside, ")")
	}
	return strings.Split(regex, "|")
}
