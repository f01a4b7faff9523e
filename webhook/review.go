// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
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

// maxBody is the largest review that is read: two objects of at most 3 MiB
// (etcd's limit as the API server applies it) and 1 MiB for the rest.
const maxBody = 7 << 20

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
)

// An httpError is a failure that has a status of its own.
type httpError struct {
	status  int
	message string
}

func (e *httpError) Error() string { return e.message }

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func unavailable(message string) error {
	return &httpError{http.StatusServiceUnavailable, message}
}

// A reviewHandler speaks the admission protocol around a reviewFunc.
type reviewHandler struct {
	review  reviewFunc
	metrics *metrics
	limiter *limiter
	tracer  trace.Tracer // nil: no spans
	log     logr.Logger
}

// ServeHTTP implements [http.Handler].
func (h *reviewHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ctx, span := startSpan(r.Context(), h.tracer, r)
	defer span.End()
	if !h.limiter.acquire(ctx) {
		h.metrics.shed.Inc()
		h.fail(w, span, nil, unavailable("too many requests in flight"))
		return
	}
	defer h.limiter.release()
	defer func() {
		if v := recover(); v != nil {
			h.fail(w, span, nil, &analysis.PanicError{Name: r.URL.Path, Value: v, Stack: debug.Stack()})
		}
	}()

	review, err := readReview(w, r)
	if err != nil {
		h.fail(w, span, nil, err)
		return
	}
	req := review.Request
	ans, err := h.review(ctx, req)
	if err != nil {
		h.fail(w, span, req, err)
		return
	}
	ans.response.UID = req.UID
	writeReview(w, ans.response)
	h.metrics.observe(req, ans.decision, time.Since(start))
	describe(span, req, ans.decision)
}

// readReview reads the one kind of body that the API server sends.
func readReview(w http.ResponseWriter, r *http.Request) (*admissionv1.AdmissionReview, error) {
	if r.Method != http.MethodPost {
		return nil, &httpError{http.StatusMethodNotAllowed, "only POST is served here"}
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, &httpError{http.StatusUnsupportedMediaType, "the content type must be application/json"}
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	review := new(admissionv1.AdmissionReview)
	if err := json.Unmarshal(body, review); err != nil {
		return nil, badRequest("the body is no AdmissionReview: %v", err)
	}
	switch {
	case review.APIVersion != "admission.k8s.io/v1" || review.Kind != "AdmissionReview":
		return nil, badRequest("the body is no AdmissionReview of admission.k8s.io/v1 but %q of %q", review.Kind, review.APIVersion)
	case review.Request == nil:
		return nil, badRequest("the AdmissionReview has no request")
	case review.Request.UID == "":
		return nil, badRequest("the request has no uid")
	}
	return review, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	limited := http.MaxBytesReader(w, r.Body, maxBody)
	var body []byte
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(limited, body)
	} else {
		body, err = io.ReadAll(limited)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge
	}
	if err != nil {
		return nil, badRequest("read the body: %v", err)
	}
	if len(body) == 0 {
		return nil, badRequest("the body is empty")
	}
	return body, nil
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
	status, message := http.StatusInternalServerError, "internal error, see the log of the Sallyport server"
	if e, ok := errors.AsType[*httpError](err); ok {
		status, message = e.status, e.message
	} else {
		h.logInternal(req, err)
	}
	decision := decisionError
	if status == http.StatusServiceUnavailable {
		decision = decisionShed
	}
	h.metrics.observeFailure(req, decision)
	describe(span, req, decision)
	http.Error(w, "sallyport: "+message, status)
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
