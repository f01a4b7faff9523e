// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A reviewFunc answers one admission request. An error that is no *httpError
// is an internal error.
type reviewFunc func(context.Context, *admissionv1.AdmissionRequest) (*answer, error)

// An answer is the response to a request and what the metrics should know.
type answer struct {
	response *admissionv1.AdmissionResponse
	decision string
}

// The decisions, as they stand in metrics.
const (
	decisionAllow      = "allow"
	decisionWarn       = "warn"
	decisionDeny       = "deny"
	decisionBreakGlass = "breakglass"
	decisionMutate     = "mutate"
	decisionError      = "error"
	decisionShed       = "shed"
	decisionNotReady   = "not_ready"
	decisionTimeout    = "timeout"
)

// An httpError is a failure that has a status of its own.
type httpError struct {
	status   int
	message  string
	decision string // in metrics
}

func (e *httpError) Error() string { return e.message }

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...), decisionError}
}

func unavailable(message string) error {
	return &httpError{http.StatusServiceUnavailable, message, decisionNotReady}
}

func overloaded(message string) error {
	return &httpError{http.StatusServiceUnavailable, message, decisionShed}
}

// A reviewHandler speaks the admission protocol around a reviewFunc.
type reviewHandler struct {
	review  reviewFunc
	metrics *metrics
	limiter *limiter     // of reviews that are judged
	large   *limiter     // of bodies over [smallBody]
	tracer  trace.Tracer // nil: no spans
	log     logr.Logger
}

// ServeHTTP implements [http.Handler].
func (h *reviewHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ctx, span := startSpan(r.Context(), h.tracer, r)
	defer span.End()
	// Who is judged is not let down because the caller hangs up, and nobody waits for
	// longer than the caller does.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), start.Add(budget(r)))
	defer cancel()
	body, release, err := h.read(ctx, w, r)
	if err != nil {
		h.fail(w, span, nil, err)
		return
	}
	defer release()
	o := h.judge(ctx, body)
	if o.err != nil {
		h.fail(w, span, o.req, o.err)
		return
	}
	o.ans.response.UID = o.req.UID
	writeReview(w, o.ans.response)
	h.metrics.observe(o.req, o.ans.decision, time.Since(start))
	describe(span, o.req, o.ans.decision)
}

// An outcome is what became of a review: an answer or an error, and the request if
// it could be decoded.
type outcome struct {
	req *admissionv1.AdmissionRequest
	ans *answer
	err error
}

// judge answers the review before the deadline of ctx. What takes longer keeps its
// place until it is done, so that it does not pile up.
func (h *reviewHandler) judge(ctx context.Context, body []byte) outcome {
	if !h.limiter.acquire(ctx) {
		return outcome{err: overloaded("too many requests in flight")}
	}
	done := make(chan outcome, 1)
	go func() {
		defer h.limiter.release()
		done <- h.outcome(ctx, body)
	}()
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
		return outcome{err: &httpError{http.StatusServiceUnavailable, "it took too long", decisionTimeout}}
	}
}

func (h *reviewHandler) outcome(ctx context.Context, body []byte) (o outcome) {
	defer func() {
		if v := recover(); v != nil {
			o.err = &analysis.PanicError{Name: "review", Value: v, Stack: debug.Stack()}
		}
	}()
	if o.req, o.err = decodeReview(body); o.err == nil {
		o.ans, o.err = h.review(ctx, o.req)
	}
	return o
}

func writeReview(w http.ResponseWriter, response *admissionv1.AdmissionResponse) {
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Response: response,
	})
	if err != nil {
		http.Error(w, "encode the response: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	// The status is sent: a caller that has gone away cannot be told of it.
	_, _ = w.Write(body)
}

// fail answers with a status that is no verdict. The text of an internal error
// goes to the log and not to the caller.
func (h *reviewHandler) fail(w http.ResponseWriter, span trace.Span, req *admissionv1.AdmissionRequest, err error) {
	e, ok := errors.AsType[*httpError](err)
	if !ok {
		h.logInternal(req, err)
		e = &httpError{http.StatusInternalServerError, "internal error, see the log of the Sallyport server", decisionError}
	}
	if e.decision == decisionShed {
		h.metrics.shed.Inc()
	}
	h.metrics.observeFailure(req, e.decision)
	describe(span, req, e.decision)
	http.Error(w, "sallyport: "+e.message, e.status)
}

func (h *reviewHandler) logInternal(req *admissionv1.AdmissionRequest, err error) {
	var values []any
	if req != nil {
		values = about(req)
	}
	if p, ok := errors.AsType[*analysis.PanicError](err); ok {
		values = append(values, "stack", string(p.Stack))
	}
	h.log.Error(err, "Could not judge a request", values...)
}

// displayName is what messages call the object: its name, or the prefix and an
// asterisk if the API server has made the name, which nobody has seen yet.
func displayName(req *admissionv1.AdmissionRequest) string {
	var object metav1.PartialObjectMetadata
	if json.Unmarshal(req.Object.Raw, &object) != nil {
		return req.Name
	}
	if isGenerated(req, &object) {
		return object.GenerateName + "*"
	}
	return cmp.Or(req.Name, object.Name)
}

// isGenerated reports whether the object's name was, or will be, made of
// generateName: it is empty for mutating webhooks and there for validating ones
// (k8s.io/apiserver v0.37, pkg/endpoints/handlers/create.go).
func isGenerated(req *admissionv1.AdmissionRequest, object metav1.Object) bool {
	prefix := object.GetGenerateName()
	return req.Operation == admissionv1.Create && prefix != "" &&
		(object.GetName() == "" || strings.HasPrefix(object.GetName(), prefix))
}
