// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
)

const (
	// maxBody is the largest review that is read: two objects of at most 3 MiB
	// (etcd's limit as the API server applies it) and 1 MiB for the rest.
	maxBody = 7 << 20
	// smallBody is larger than almost all reviews. Only so many larger ones are read
	// at a time, so that memory is bounded whoever calls.
	smallBody = 128 << 10
)

// A review has to be answered within maxBudget, and a while before the caller gives
// up: after that the answer would be in vain, and is but load.
const (
	maxBudget = time.Second
	margin    = 100 * time.Millisecond
)

// budget returns how long the answer may take, by the caller's own timeout, which the
// API server sends in whole seconds (k8s.io/apiserver v0.37, pkg/admission/plugin/webhook).
func budget(r *http.Request) time.Duration {
	timeout, err := time.ParseDuration(r.URL.Query().Get("timeout"))
	if err != nil || timeout <= margin {
		return maxBudget
	}
	return min(maxBudget, timeout-margin)
}

// read reads the body of the one kind of request that the API server sends. The body
// may be used until release is called.
func (h *reviewHandler) read(ctx context.Context, w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	deadline, _ := ctx.Deadline()
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(deadline) // fails where there is no connection, as in tests
	if r.Method != http.MethodPost {
		return nil, nil, &httpError{http.StatusMethodNotAllowed, "only POST is served here", decisionError}
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, nil, &httpError{http.StatusUnsupportedMediaType, "the content type must be application/json", decisionError}
	}
	release = func() {}
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		if !h.large.acquire(ctx) {
			return nil, nil, overloaded("too many large requests in flight")
		}
		release = h.large.release
	}
	if body, err = readBody(w, r); err != nil {
		release()
		return nil, nil, err
	}
	_ = conn.SetReadDeadline(time.Time{}) // which is not for what comes next
	return body, release, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody), decisionError}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	var body bytes.Buffer // grows with what has come, not with all that is announced
	body.Grow(int(min(max(r.ContentLength, 0), smallBody)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, &httpError{http.StatusRequestTimeout, "the body did not come in time", decisionTimeout}
	}
	if err != nil {
		return nil, badRequest("read the body: %v", err)
	}
	if body.Len() == 0 {
		return nil, badRequest("the body is empty")
	}
	return body.Bytes(), nil
}

func decodeReview(body []byte) (*admissionv1.AdmissionRequest, error) {
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
	return review.Request, nil
}
