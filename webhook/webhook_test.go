// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// The objects of the tests.
const (
	cleanEntry = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"api","namespace":"shop"},` +
		`"spec":{"hosts":["api.example.com"],"exportTo":["."],"location":"MESH_EXTERNAL","resolution":"DNS","ports":[{"name":"https","number":443,"protocol":"HTTPS"}]}}`
	wildcardEntry = `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"all","namespace":"shop"},` +
		`"spec":{"hosts":["*.example.com"],"exportTo":["."],"ports":[{"name":"https","number":443,"protocol":"HTTPS"}]}}`
	bareRoute = `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"api","namespace":"shop"},` +
		`"spec":{"hosts":["api.example.com"],"http":[{"route":[{"destination":{"host":"api.example.com"}}]}]}}`
)

type healthy struct{}

func (healthy) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
func (healthy) Healthy() bool                                                 { return true }

func testOptions(tb testing.TB) Options {
	tb.Helper()
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(tb, err)
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = listener.Close() })
	return Options{
		Suite: suite, Mutators: rules.Mutators, Certificates: healthy{}, Listener: listener,
		Registry: prometheus.NewRegistry(), Log: logr.Discard(),
	}
}

func newTestServer(tb testing.TB, opts Options) *Server {
	tb.Helper()
	s, err := New(opts)
	require.NoError(tb, err)
	return s
}

// serve returns the base URL of the server's handler.
func serve(tb testing.TB, s *Server) string {
	tb.Helper()
	server := httptest.NewServer(s.Handler())
	tb.Cleanup(server.Close)
	return server.URL
}

type requestOption func(*admissionv1.AdmissionRequest)

func update(old string) requestOption {
	return func(r *admissionv1.AdmissionRequest) {
		r.Operation = admissionv1.Update
		r.OldObject = runtime.RawExtension{Raw: []byte(old)}
	}
}

// newRequest makes the request that an API server would send for the object.
func newRequest(tb testing.TB, object string, opts ...requestOption) *admissionv1.AdmissionRequest {
	tb.Helper()
	var meta metav1.PartialObjectMetadata
	require.NoError(tb, json.Unmarshal([]byte(object), &meta))
	gvk := meta.GroupVersionKind()
	req := &admissionv1.AdmissionRequest{
		UID:       "8f4c2a52-0c9c-4a39-9d0b-0e8f2f1a7c11",
		Kind:      metav1.GroupVersionKind(gvk),
		Name:      meta.Name,
		Namespace: "shop",
		Operation: admissionv1.Create,
		Object:    runtime.RawExtension{Raw: []byte(object)},
	}
	for _, opt := range opts {
		opt(req)
	}
	return req
}

func encode(tb testing.TB, req *admissionv1.AdmissionRequest) []byte {
	tb.Helper()
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  req,
	})
	require.NoError(tb, err)
	return body
}

// post sends a body as the API server does and returns the status and the body
// of the answer.
func post(tb testing.TB, url string, body []byte) (int, []byte) {
	tb.Helper()
	client := &http.Client{Timeout: 20 * time.Second}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url+"?timeout=3s", bytes.NewReader(body))
	require.NoError(tb, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(tb, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(tb, err)
	return res.StatusCode, answer
}

// review posts a request and returns the response in the answer.
func review(tb testing.TB, url string, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	tb.Helper()
	status, body := post(tb, url, encode(tb, req))
	require.Equal(tb, http.StatusOK, status, string(body))
	var answer admissionv1.AdmissionReview
	require.NoError(tb, json.Unmarshal(body, &answer))
	require.Equal(tb, "admission.k8s.io/v1, Kind=AdmissionReview", answer.GroupVersionKind().String())
	require.NotNil(tb, answer.Response)
	require.Equal(tb, req.UID, answer.Response.UID)
	return answer.Response
}

func replace(tb testing.TB, s, old, replacement string) string {
	tb.Helper()
	require.Contains(tb, s, old, "nothing to replace")
	return string(bytes.Replace([]byte(s), []byte(old), []byte(replacement), 1))
}

func withMeta(tb testing.TB, object, meta string) string {
	tb.Helper()
	return replace(tb, object, `"metadata":{`, fmt.Sprintf(`"metadata":{%s,`, meta))
}
