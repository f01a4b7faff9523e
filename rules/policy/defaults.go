// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

func (c *compiler) limits(l *v1alpha1.Limits) {
	c.between("spec.limits.minWildcardLabels", l.MinWildcardLabels, 1, 10)
	c.between("spec.limits.maxRetryAttempts", l.MaxRetryAttempts, 0, 100)
	c.between("spec.limits.maxPrefixIPv4", l.MaxPrefixIPv4, 0, 32)
	c.between("spec.limits.maxPrefixIPv6", l.MaxPrefixIPv6, 0, 128)
	c.duration("spec.limits.maxTimeout", l.MaxTimeout)
}

func (c *compiler) between(path string, value *int32, lowest, highest int32) {
	if value != nil && (*value < lowest || *value > highest) {
		c.invalid(path, *value, fmt.Sprintf("must be between %d and %d", lowest, highest))
	}
}

// duration reads a duration that istiod takes (istio.io/istio v1.31,
// pkg/config/validation/agent/validation.go, ValidateDuration).
func (c *compiler) duration(path string, d *metav1.Duration) *time.Duration {
	if d == nil {
		return nil
	}
	if d.Duration < time.Millisecond || d.Duration > 24*time.Hour || d.Duration%time.Millisecond != 0 {
		c.invalid(path, d.Duration, "must be whole milliseconds, at least one and no more than a day")
	}
	return new(d.Duration)
}

func (c *compiler) defaults(d *v1alpha1.Defaults) Defaults {
	return Defaults{
		Timeout:  c.duration("spec.defaults.timeout", d.Timeout),
		Retries:  c.retries(d.Retries),
		ExportTo: c.exportTo(d.ExportTo),
	}
}

func (c *compiler) retries(r *v1alpha1.Retries) *Retries {
	if r == nil {
		return nil
	}
	c.between("spec.defaults.retries.attempts", &r.Attempts, 1, 100)
	for condition := range strings.SplitSeq(r.RetryOn, ",") {
		if r.RetryOn != "" && !isRetryCondition(condition) {
			c.invalid("spec.defaults.retries.retryOn", r.RetryOn, fmt.Sprintf("must be conditions of Istio's retryOn, separated by commas without blanks: %q is none", condition))
		}
	}
	return &Retries{
		Attempts:      r.Attempts,
		RetryOn:       r.RetryOn,
		PerTryTimeout: c.duration("spec.defaults.retries.perTryTimeout", r.PerTryTimeout),
	}
}

// isRetryCondition reports whether istiod takes the condition: one of a list or
// the number of an HTTP status that has a name (istio.io/istio v1.31,
// pkg/config/validation/validation.go, validateHTTPRetry), here one of an error.
func isRetryCondition(condition string) bool {
	return slices.Contains(retryConditions, condition) || errorStatus.MatchString(condition)
}

var errorStatus = regexp.MustCompile(`^(4(0[0-9]|1[0-8]|2[1-689]|31|51)|50[0-8]|51[01])$`)

var retryConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
	"retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

func (c *compiler) exportTo(namespaces []string) []string {
	for i, n := range namespaces {
		path := fmt.Sprintf("spec.defaults.exportTo[%d]", i)
		switch {
		case slices.Contains(namespaces[:i], n):
			c.invalid(path, n, isDuplicate)
		case n == "*" && len(namespaces) > 1:
			c.invalid(path, n, "must stand alone, since it is every namespace")
		case n != "*" && n != "." && len(validation.IsDNS1123Label(n)) > 0:
			c.invalid(path, n, "must be '.', '*' or a namespace")
		}
	}
	return namespaces
}
