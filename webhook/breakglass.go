// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// BreakGlassAnnotation holds the reason why a change is to be let through that
// is denied. It counts for the request that sets it, if the user may break the
// glass: see [NewBreakGlass].
const BreakGlassAnnotation = "sallyport.dev/break-glass"

// maxReasonLength bounds the reason, which goes to logs, in bytes.
const maxReasonLength = 1024

// What came of an annotation, as it stands in metrics.
const (
	glassAllowed   = "allowed"
	glassForbidden = "forbidden"
	glassError     = "error"
)

var glassPath = field.NewPath("metadata", "annotations").Key(BreakGlassAnnotation)

// breakGlass returns the reason for which a denied request is let through. If
// it is not, the reason is empty, and the error says why unless nobody asked.
func (e *evaluator) breakGlass(ctx context.Context, req *admissionv1.AdmissionRequest) (string, *field.Error) {
	if e.glass == nil {
		return "", nil
	}
	reason, problem := newReason(req)
	if reason == "" || problem != nil {
		return "", problem
	}
	allowed, err := e.glass.MayBreakGlass(ctx, &req.UserInfo)
	switch {
	case err != nil:
		e.metrics.observeBreakGlass(req, glassError)
		e.log.Error(err, "Could not find out whether a user may break the glass", about(req)...)
		return "", field.InternalError(glassPath, fmt.Errorf("could not find out whether the user may break the glass: %s",
			brief(err.Error())))
	case !allowed:
		e.metrics.observeBreakGlass(req, glassForbidden)
		return "", field.Forbidden(glassPath, fmt.Sprintf(
			"user %s may not break the glass; that takes the verb 'breakglass' on 'egresspolicies' of 'policy.sallyport.dev' in the whole cluster",
			strconv.Quote(cut(req.UserInfo.Username, maxValueLength))))
	}
	e.metrics.observeBreakGlass(req, glassAllowed)
	return reason, nil
}

// newReason returns the reason in the object's annotation, or why there is an
// annotation that does not count.
func newReason(req *admissionv1.AdmissionRequest) (string, *field.Error) {
	value, ok, err := glassAnnotation(req.Object.Raw)
	reason := strings.TrimSpace(value)
	switch {
	case err != nil || !ok:
		return "", nil //nolint:nilerr // the object was read before; without an annotation nobody asks
	case reason == "":
		return "", field.Required(glassPath, "must be the reason for which the change is to be let through")
	case len(reason) > maxReasonLength:
		return "", field.TooLong(glassPath, "", maxReasonLength)
	case req.Operation == admissionv1.Create:
		return reason, nil
	}
	// What cannot be read is taken for a reason that was there before.
	before, _, err := glassAnnotation(req.OldObject.Raw)
	if err != nil || strings.TrimSpace(before) == reason {
		return "", field.Forbidden(glassPath, "must be new or changed, since it counts only for the change that sets it")
	}
	return reason, nil
}

func glassAnnotation(raw []byte) (value string, ok bool, err error) {
	var object metav1.PartialObjectMetadata
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object); err != nil {
		return "", false, err
	}
	value, ok = object.Annotations[BreakGlassAnnotation]
	return value, ok, nil
}

// letThrough makes the answer to a denied request an allowing one that leaves
// traces.
func (e *evaluator) letThrough(req *admissionv1.AdmissionRequest, ans *answer, reason string, denied []analysis.Finding) {
	rules := ruleNames(denied)
	ans.decision = decisionBreakGlass
	delete(ans.response.AuditAnnotations, "deny") // which marks what was refused
	ans.response.AuditAnnotations["breakglass"] = reason
	ans.response.AuditAnnotations["breakglass-rules"] = strings.Join(rules, ",")
	values := append(about(req), "rules", rules, "reason", reason)
	if e.log.V(1).Enabled() { // else see the API server's audit log
		values = append(values, "user", req.UserInfo.Username)
	}
	e.log.Info("Let a denied request through by break-glass", values...)
}

func glassWarning(rules []string, reason string) string {
	by := rules[0]
	if more := len(rules) - 1; more > 0 {
		by += fmt.Sprintf(" and %d more", more)
	}
	// The API server drops warnings with control characters.
	reason = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, reason)
	return cut(fmt.Sprintf("denied by %s, let through by break-glass: %s", by, reason), maxWarningLength)
}
