// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Policies gives the effective policy of a namespace. It is called for every
// request and must be safe for concurrent use and quick. It returns nil as long
// as it does not know.
type Policies interface {
	For(namespace string) *policy.Policy
}

// An evaluator judges admission requests. It knows nothing of HTTP.
type evaluator struct {
	suite    *analysis.Suite
	mutators []*analysis.Mutator
	config   *config.Configuration
	mesh     analysis.Mesh
	policies Policies
	glass    Authorizer    // nil: nobody may break the glass
	waiting  chan struct{} // places for reviews that wait for an object, see [patiently]
	metrics  *metrics
	now      func() time.Time
	log      logr.Logger
}

func allow() *answer {
	return &answer{decision: decisionAllow, response: &admissionv1.AdmissionResponse{Allowed: true}}
}

// validate answers a request to /validate.
func (e *evaluator) validate(ctx context.Context, req *admissionv1.AdmissionRequest) (*answer, error) {
	if !isWrite(req) || isUnchanged(req) || isCanary(req) {
		return allow(), nil
	}
	pol := e.policies.For(req.Namespace)
	if pol == nil {
		return nil, unavailable("the policies are not known yet")
	}
	obj, err := decode(req, req.Object.Raw)
	if err != nil {
		return e.refuseUndecodable(req, pol, err)
	}
	var res analysis.Result
	err = patiently(ctx, e.waiting, func(await func()) error {
		res, err = e.check(req, obj, pol, await)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.metrics.observeFindings(req, res.Findings)
	return e.verdict(ctx, req, pol, &res), nil
}

func (e *evaluator) check(req *admissionv1.AdmissionRequest, obj analysis.Object, pol *policy.Policy, await func()) (analysis.Result, error) {
	if obj.GetDeletionTimestamp() != nil && pol.ExistingViolations == policy.DenyExisting {
		// Whoever finishes a deletion must be able to, whatever was there before.
		lenient := *pol
		lenient.ExistingViolations = policy.AllowExisting
		pol = &lenient
	}
	in := analysis.Input{Object: obj, Policy: pol, Config: e.config, Mesh: e.mesh, Now: e.now(), Await: await}
	res := analysis.Check(e.suite, in)
	if len(res.Findings) > 0 && len(req.OldObject.Raw) > 0 {
		if old, err := decode(req, req.OldObject.Raw); err == nil {
			in.Old = old
			res = analysis.Check(e.suite, in)
		}
	}
	for _, p := range res.Panics {
		e.metrics.panics.WithLabelValues(p.Name).Inc()
	}
	if len(res.Panics) > 0 {
		return res, res.Panics[0]
	}
	return res, nil
}

// verdict turns what was found into the answer.
func (e *evaluator) verdict(ctx context.Context, req *admissionv1.AdmissionRequest, pol *policy.Policy, res *analysis.Result) *answer {
	ans := allow()
	told := warnings(res.Findings)
	ans.response.Warnings = capWarnings(told)
	ans.response.AuditAnnotations = annotations(pol, res.Findings)
	if len(told) > 0 {
		ans.decision = decisionWarn
	}
	var denied []analysis.Finding
	for _, f := range res.Findings {
		if f.Verdict.Action == policy.Deny {
			denied = append(denied, f)
		}
	}
	if len(denied) == 0 {
		return ans
	}
	reason, problem := e.breakGlass(ctx, req)
	if reason != "" {
		ans.response.Warnings = capWarnings(append([]string{glassWarning(ruleNames(denied), reason)}, told...))
		e.letThrough(req, ans, reason, denied)
		return ans
	}
	ans.decision = decisionDeny
	ans.response.Allowed = false
	ans.response.Result = denial(schema.GroupKind{Group: req.Kind.Group, Kind: req.Kind.Kind}, displayName(req), denied, problem)
	e.logDenial(req, "rules", ruleNames(denied))
	return ans
}

// refuseUndecodable answers a request whose object Istio could not read either.
func (e *evaluator) refuseUndecodable(req *admissionv1.AdmissionRequest, pol *policy.Policy, err error) (*answer, error) {
	if _, ok := errors.AsType[*httpError](err); ok {
		return nil, err
	}
	ans := allow()
	message := fmt.Sprintf("%s %q cannot be decoded: %s", req.Kind.Kind, displayName(req), brief(err.Error()))
	if !e.denies(pol, req) {
		ans.decision = decisionWarn
		ans.response.Warnings = []string{cut("sallyport: "+message, maxWarningLength)}
		return ans, nil
	}
	ans.decision = decisionDeny
	ans.response.Allowed = false
	ans.response.Result = &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: message,
	}
	e.logDenial(req, "reason", "undecodable")
	return ans, nil
}

// logDenial writes one line: no content of the object and no user.
func (e *evaluator) logDenial(req *admissionv1.AdmissionRequest, why string, value any) {
	e.log.Info("Denied a request", append(about(req), why, value)...)
}

// maxLogged is the length of the longest names that the API server admits, in bytes.
const maxLogged = 253

// about is what the log says of a request. Callers that are no API server could call
// things by names of any length.
func about(req *admissionv1.AdmissionRequest) []any {
	return []any{
		"requestID", cut(string(req.UID), maxLogged), "operation", cut(string(req.Operation), maxLogged),
		"kind", cut(req.Kind.Kind, maxLogged), "namespace", cut(req.Namespace, maxLogged),
		"name", cut(displayName(req), maxLogged), "dryRun", isDryRun(req),
	}
}

// denies reports whether the policy lets any rule for the kind deny.
func (e *evaluator) denies(pol *policy.Policy, req *admissionv1.AdmissionRequest) bool {
	kind := analysis.KindFor(schema.GroupVersionKind(req.Kind))
	return e.suite.Denies(kind, pol, e.now())
}

// mutate answers a request to /mutate. It never refuses: what is wrong with the
// object is for validate to say, which sees the final state.
func (e *evaluator) mutate(ctx context.Context, req *admissionv1.AdmissionRequest) (*answer, error) {
	if !isWrite(req) || isUnchanged(req) {
		return allow(), nil
	}
	pol := e.policies.For(req.Namespace)
	if pol == nil {
		return nil, unavailable("the policies are not known yet")
	}
	var injections []analysis.Injection
	var notes []string
	err := patiently(ctx, e.waiting, func(await func()) (err error) {
		injections, notes, err = e.apply(req, pol, await)
		return err
	})
	if err != nil {
		return nil, err
	}
	ans, err := patched(injections, notes)
	if err != nil {
		return nil, err
	}
	e.metrics.observeInjections(req, injections)
	return ans, nil
}

// apply applies the mutators to the request's object, and returns what they have
// changed and what they say about what they have not.
func (e *evaluator) apply(req *admissionv1.AdmissionRequest, pol *policy.Policy, await func()) (injections []analysis.Injection, notes []string, err error) {
	obj, err := decode(req, req.Object.Raw)
	if _, ok := errors.AsType[*httpError](err); ok {
		return nil, nil, err
	}
	if err != nil || obj.GetDeletionTimestamp() != nil {
		return nil, nil, nil //nolint:nilerr // what cannot be decoded is for validate to refuse
	}
	injections, failure := analysis.Mutate(e.mutators, analysis.Input{
		Object: obj, Policy: pol, Config: e.config, Mesh: e.mesh, Now: e.now(), Await: await,
		Tell: func(m *analysis.Mutator, note string) { notes = append(notes, shorten(m.Name+": ", note)) },
	})
	if failure != nil {
		e.metrics.panics.WithLabelValues(failure.Name).Inc()
		return nil, nil, failure
	}
	return injections, notes, nil
}

func patched(injections []analysis.Injection, notes []string) (*answer, error) {
	ans := allow()
	if len(notes) > 0 {
		ans.decision = decisionWarn
		ans.response.Warnings = capWarnings(notes)
	}
	if len(injections) == 0 {
		return ans, nil
	}
	ops, err := analysis.Patch(injections)
	if err != nil {
		return nil, err
	}
	ans.response.Patch, err = json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("encode the patch: %w", err)
	}
	ans.decision = decisionMutate
	ans.response.PatchType = new(admissionv1.PatchTypeJSONPatch)
	var injected []string
	for _, in := range injections {
		injected = append(injected, in.Mutator.Name+" "+in.Path.String())
	}
	ans.response.Warnings = capWarnings(append(notes, injectionWarnings(injections, ops)...))
	ans.response.AuditAnnotations = map[string]string{"injected": strings.Join(injected, ",")}
	return ans, nil
}

// decode reads an object of exactly the request's kind.
func decode(req *admissionv1.AdmissionRequest, raw []byte) (analysis.Object, error) {
	obj, err := manifest.Decode(schema.GroupVersionKind(req.Kind), raw)
	switch {
	case errors.Is(err, manifest.ErrUnknownKind):
		return nil, badRequest("there are no rules for %s of %s/%s; the webhook configuration must not ask about it", req.Kind.Kind, req.Kind.Group, req.Kind.Version)
	case errors.Is(err, manifest.ErrKindMismatch):
		return nil, badRequest("%v", err)
	case err != nil:
		return nil, err
	}
	obj.SetNamespace(req.Namespace)
	if isGenerated(req, obj) {
		obj.SetName("") // no exemption can mean it
	}
	return obj, nil
}

// isWrite reports whether the request creates or updates an object itself, not
// a subresource.
func isWrite(req *admissionv1.AdmissionRequest) bool {
	return req.SubResource == "" && (req.Operation == admissionv1.Create || req.Operation == admissionv1.Update)
}

// isUnchanged reports whether an update leaves alone all that rules read: spec,
// labels and annotations. The API server encodes both objects in the same way,
// so that equal parts are equal bytes; a false negative costs only an
// evaluation.
func isUnchanged(req *admissionv1.AdmissionRequest) bool {
	if req.Operation != admissionv1.Update || len(req.OldObject.Raw) == 0 {
		return false
	}
	var before, after relevant
	if kjson.UnmarshalCaseSensitivePreserveInts(req.OldObject.Raw, &before) != nil ||
		kjson.UnmarshalCaseSensitivePreserveInts(req.Object.Raw, &after) != nil {
		return false
	}
	return bytes.Equal(before.Spec, after.Spec) &&
		bytes.Equal(before.Metadata.Labels, after.Metadata.Labels) &&
		bytes.Equal(before.Metadata.Annotations, after.Metadata.Annotations)
}

type relevant struct {
	Metadata struct {
		Labels      json.RawMessage `json:"labels"`
		Annotations json.RawMessage `json:"annotations"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}
