// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// badGateway is refused, as it cannot be decoded.
const badGateway = `{"apiVersion":"networking.istio.io/v1","kind":"Gateway","metadata":{"annotations":{"internal.istio.io/webhook-always-reject":"true"},"name":"egress","namespace":"shop"},` +
	`"spec":{"servers":1}}`

// TestCanary (R6): what istiod tries its own webhook with is let through, and nothing
// else that claims to be it.
func TestCanary(t *testing.T) {
	opts := testOptions(t)
	strict := *policy.Default()
	strict.Rules = map[string]policy.RuleSetting{"egress/unknown-field": {Action: policy.Deny}}
	opts.Policies = onePolicy{&strict}
	url := serve(t, newTestServer(t, opts))
	dry := func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }
	entry := withMeta(t, wildcardEntry, `"annotations":{"internal.istio.io/webhook-always-reject":"true"}`)
	require.True(t, review(t, url+ValidatePath, newRequest(t, badGateway, dry)).Allowed)
	require.False(t, review(t, url+ValidatePath, newRequest(t, badGateway)).Allowed, "no dry run")
	require.False(t, review(t, url+ValidatePath, newRequest(t, entry, dry)).Allowed, "no Gateway")
	plain := replace(t, badGateway, "webhook-always-reject", "other")
	require.False(t, review(t, url+ValidatePath, newRequest(t, plain, dry)).Allowed, "not annotated")
}
