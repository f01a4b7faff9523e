// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// alwaysReject marks the Gateway by which istiod asks whether its own webhook answers
// (Istio 1.31, pkg/config/constants.AlwaysReject).
const alwaysReject = "internal.istio.io/webhook-always-reject"

// isCanary reports whether istiod tries its own webhook with an object that must be
// refused. It takes any refusal for its own webhook's, so that another's would let it
// believe that it is asked while it is not (pkg/webhooks/validation/controller,
// isDryRunOfInvalidConfigRejected). Only dry runs can be meant, which store nothing.
func isCanary(req *admissionv1.AdmissionRequest) bool {
	if !isDryRun(req) || req.Kind.Group != "networking.istio.io" || req.Kind.Kind != "Gateway" {
		return false
	}
	var object metav1.PartialObjectMetadata
	return json.Unmarshal(req.Object.Raw, &object) == nil && object.Annotations[alwaysReject] != ""
}
