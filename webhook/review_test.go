// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// TestGarbage (R18) sends what no API server sends. Each gets a status that is no
// verdict, and says why.
func TestGarbage(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	post(t, url+ValidatePath, nil)
	idle := http.DefaultTransport.(*http.Transport).CloseIdleConnections
	idle()
	before := runtime.NumGoroutine()
	defer func() {
		idle()
		require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before }, 30*time.Second, 10*time.Millisecond, "goroutines are left")
	}()
	good := encode(t, newRequest(t, cleanEntry))
	asRoute := newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) { r.Kind.Kind = "VirtualService" })
	otherVersion := newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) { r.Kind.Version = "v1beta1" })
	unknownKind := newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) {
		r.Kind = metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	})
	noUID := newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) { r.UID = "" })
	tests := []struct {
		name   string
		body   []byte
		status int
		says   string
	}{
		{"empty", nil, http.StatusBadRequest, "the body is empty"},
		{"no JSON", []byte("hosts: [a]"), http.StatusBadRequest, "no AdmissionReview"},
		{"truncated", good[:len(good)/2], http.StatusBadRequest, "no AdmissionReview"},
		{"null", []byte("null"), http.StatusBadRequest, "no AdmissionReview"},
		{"a list", []byte("[]"), http.StatusBadRequest, "no AdmissionReview"},
		{"deep", []byte(strings.Repeat("[", 1<<20)), http.StatusBadRequest, "no AdmissionReview"},
		{"the object alone", []byte(cleanEntry), http.StatusBadRequest, `"ServiceEntry" of "networking.istio.io/v1"`},
		{"v1beta1", bytes.Replace(good, []byte("admission.k8s.io/v1"), []byte("admission.k8s.io/v1beta1"), 1), http.StatusBadRequest, "admission.k8s.io/v1beta1"},
		{"no request", []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`), http.StatusBadRequest, "no request"},
		{"no uid", encode(t, noUID), http.StatusBadRequest, "no uid"},
		{"a ServiceEntry in the review of a VirtualService", encode(t, asRoute), http.StatusBadRequest, "VirtualService"},
		{"another version than the review says", encode(t, otherVersion), http.StatusBadRequest, "v1beta1"},
		{"a kind that nobody asked for", encode(t, unknownKind), http.StatusBadRequest, "Deployment"},
		{"8 MiB", bytes.Repeat([]byte(" "), 8<<20), http.StatusRequestEntityTooLarge, "larger than 7340032 bytes"},
	}
	for _, tt := range tests {
		for _, path := range []string{ValidatePath, MutatePath} {
			t.Run(tt.name+path, func(t *testing.T) {
				status, body := post(t, url+path, tt.body)
				require.Equal(t, tt.status, status, string(body))
				require.Contains(t, string(body), tt.says)
				require.Less(t, len(body), 1000)
			})
		}
	}
}

func TestGarbageProtocol(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	do := func(method, path, contentType string, body []byte) int {
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, bytes.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	good := encode(t, newRequest(t, cleanEntry))
	require.Equal(t, http.StatusMethodNotAllowed, do(http.MethodGet, ValidatePath, "application/json", nil))
	require.Equal(t, http.StatusUnsupportedMediaType, do(http.MethodPost, ValidatePath, "application/yaml", good))
	require.Equal(t, http.StatusNotFound, do(http.MethodPost, "/", "application/json", good))
	require.Equal(t, http.StatusOK, do(http.MethodPost, ValidatePath, "application/json; charset=utf-8", good))
}

// TestChunkedBodyOver7MiB (R18) has no length that could be refused beforehand.
func TestChunkedBodyOver7MiB(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	body := struct{ *bytes.Reader }{bytes.NewReader(bytes.Repeat([]byte(" "), 8<<20))}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+ValidatePath, body)
	require.NoError(t, err)
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
}

// TestSlowBody (R18): clients that do not send what they have announced do not keep
// others from being judged, and lose the connection when their time is over.
func TestSlowBody(t *testing.T) {
	opts := testOptions(t)
	opts.MaxInFlight = 1
	server := httptest.NewServer(newTestServer(t, opts).Handler())
	defer server.Close()
	var slow []net.Conn
	for _, length := range []int{1000, 1000, maxBody} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", ValidatePath, length)
		require.NoError(t, err)
		slow = append(slow, conn)
	}
	status, body := post(t, server.URL+ValidatePath, encode(t, newRequest(t, cleanEntry)))
	require.Equal(t, http.StatusOK, status, string(body))
	for _, conn := range slow {
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Contains(t, string(answer), "408 Request Timeout")
	}
}

// TestLargeBodies: only so many large ones are read at a time.
func TestLargeBodies(t *testing.T) {
	opts := testOptions(t)
	opts.MaxInFlight = 1
	s := newTestServer(t, opts)
	url := serve(t, s)
	large := encode(t, newRequest(t, withMeta(t, cleanEntry, `"annotations":{"a":"`+strings.Repeat("a", smallBody)+`"}`)))
	status, body := post(t, url+ValidatePath, large)
	require.Equal(t, http.StatusOK, status, string(body))
	require.True(t, s.large.acquire(t.Context()))
	status, body = post(t, url+ValidatePath, large)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(body), "too many large requests in flight")
	s.large.release()
	status, _ = post(t, url+ValidatePath, large)
	require.Equal(t, http.StatusOK, status)
}

// TestOwnDeadline (R2): what takes too long gets an answer before the caller gives up,
// and keeps its place until it is done.
func TestOwnDeadline(t *testing.T) {
	opts := testOptions(t)
	opts.MaxInFlight = 1
	entered, leave := make(chan struct{}), make(chan struct{})
	opts.Policies = &gate{entered: entered, leave: leave}
	s := newTestServer(t, opts)
	s.readiness.wasReady.Store(true)
	url := serve(t, s)
	go func() { <-entered }()
	body := encode(t, newRequest(t, cleanEntry))
	status, answer := post(t, url+ValidatePath, body)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(answer), "it took too long")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.requests.WithLabelValues("", "", "timeout", "false")), 0)
	status, answer = post(t, url+ValidatePath, body)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(answer), "too many requests in flight")
	close(leave)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, _ := post(t, url+ValidatePath, body)
		assert.Equal(c, http.StatusOK, status)
	}, 10*time.Second, 10*time.Millisecond)
}

func TestBudget(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"?timeout=1s": 900 * time.Millisecond, "?timeout=3s": time.Second, "?timeout=30s": time.Second,
		"": time.Second, "?timeout=x": time.Second, "?timeout=-1s": time.Second, "?timeout=0s": time.Second,
	} {
		require.Equal(t, want, budget(httptest.NewRequestWithContext(t.Context(), http.MethodPost, ValidatePath+query, http.NoBody)), query)
	}
}

// TestCallerGone (R12): a review goes on although its caller does not.
func TestCallerGone(t *testing.T) {
	opts := testOptions(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	opts.Policies = &gate{entered: entered, leave: leave}
	s := newTestServer(t, opts)
	s.readiness.wasReady.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, ValidatePath, bytes.NewReader(encode(t, newRequest(t, cleanEntry))))
	req.Header.Set("Content-Type", "application/json")
	go func() {
		<-entered
		cancel()
		close(leave)
	}()
	res := httptest.NewRecorder()
	s.Handler().ServeHTTP(res, req)
	require.Equal(t, http.StatusOK, res.Code, res.Body)
}

// TestShed (R13): what finds no place within the patience is answered 503.
func TestShed(t *testing.T) {
	opts := testOptions(t)
	opts.MaxInFlight = 1
	entered, leave := make(chan struct{}), make(chan struct{})
	opts.Policies = &gate{entered: entered, leave: leave}
	s := newTestServer(t, opts)
	s.readiness.wasReady.Store(true)
	url := serve(t, s)
	body := encode(t, newRequest(t, cleanEntry))
	done := make(chan int)
	go func() {
		status, _ := post(t, url+ValidatePath, body)
		done <- status
	}()
	<-entered
	status, answer := post(t, url+ValidatePath, body)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(answer), "too many requests in flight")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.shed), 0)
	close(leave)
	require.Equal(t, http.StatusOK, <-done)
}

// gate holds every request until leave is closed.
type gate struct{ entered, leave chan struct{} }

func (g *gate) For(string) *policy.Policy {
	select {
	case g.entered <- struct{}{}:
	case <-g.leave:
	}
	<-g.leave
	return policy.Default()
}

// FuzzReview: no body makes the server panic or answer what the protocol does
// not know.
func FuzzReview(f *testing.F) {
	for _, object := range []string{cleanEntry, wildcardEntry, bareRoute} {
		f.Add(encode(f, newRequest(f, object)))
		f.Add(encode(f, newRequest(f, object, update(cleanEntry))))
	}
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","kind":{"group":"networking.istio.io","version":"v1","kind":"VirtualService"},"operation":"UPDATE","object":null,"oldObject":{}}}`))
	handler := newTestServer(f, testOptions(f)).Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{ValidatePath, MutatePath} {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			res := httptest.NewRecorder()
			handler.ServeHTTP(res, req)
			switch res.Code {
			case http.StatusOK:
				var answer admissionv1.AdmissionReview
				require.NoError(t, json.Unmarshal(res.Body.Bytes(), &answer))
				require.NotNil(t, answer.Response)
				require.NotEmpty(t, answer.Response.UID)
				require.True(t, answer.Response.Allowed || answer.Response.Result != nil)
			case http.StatusBadRequest:
			default:
				t.Fatalf("status %d: %s", res.Code, res.Body)
			}
		}
	})
}
