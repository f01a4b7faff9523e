// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector keeps what it gets, after a while if it is asked to.
type collector struct {
	*httptest.Server

	requests chan *http.Request
	bodies   chan []byte
}

func newCollector(t *testing.T, status int, busy <-chan struct{}) *collector {
	t.Helper()
	c := &collector{requests: make(chan *http.Request, 100), bodies: make(chan []byte, 100)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if busy != nil {
			<-busy
		}
		w.WriteHeader(status)
		c.requests <- r
		c.bodies <- body
	}))
	t.Cleanup(c.Close)
	return c
}

func provide(t *testing.T, opts Options) *sdktrace.TracerProvider {
	t.Helper()
	provider, err := NewProvider(t.Context(), opts)
	require.NoError(t, err)
	require.NotNil(t, provider)
	return provider
}

func spansNamed(t *testing.T, provider *sdktrace.TracerProvider, name string, n int) {
	t.Helper()
	for range n {
		_, span := provider.Tracer("test").Start(t.Context(), name)
		span.End()
	}
}

// TestExport: spans reach the collector, with the headers and the resource that the
// environment asks for.
func TestExport(t *testing.T) {
	c := newCollector(t, http.StatusOK, nil)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%3Db, x=y")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	provider := provide(t, Options{Endpoint: c.URL + "/base/", Version: "v1.2.3", Log: logr.Discard()})
	spansNamed(t, provider, "a span", 1)
	require.NoError(t, provider.Shutdown(t.Context()))

	req := <-c.requests
	require.Equal(t, "/base/v1/traces", req.URL.Path)
	require.Equal(t, "application/x-protobuf", req.Header.Get("Content-Type"))
	require.Equal(t, "a=b", req.Header.Get("Api-Key"))
	require.Equal(t, "y", req.Header.Get("X"))
	var data tracepb.TracesData
	require.NoError(t, proto.Unmarshal(<-c.bodies, &data))
	require.Equal(t, "a span", data.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0].GetName())
	resource := map[string]string{}
	for _, a := range data.GetResourceSpans()[0].GetResource().GetAttributes() {
		resource[a.GetKey()] = a.GetValue().GetStringValue()
	}
	require.Equal(t, "sallyport", resource["service.name"])
	require.Equal(t, "v1.2.3", resource["service.version"])
	require.Equal(t, "test", resource["deployment.environment.name"])
}

// TestSampling: the ratio counts before the environment, and the environment where
// there is none.
func TestSampling(t *testing.T) {
	for name, tt := range map[string]struct {
		ratio   *float64
		sampler string
		want    bool
	}{
		"all by default":        {nil, "", true},
		"none by the ratio":     {new(0.0), "always_on", false},
		"all by the ratio":      {new(1.0), "always_off", true},
		"none by the variables": {nil, "always_off", false},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.sampler != "" {
				t.Setenv("OTEL_TRACES_SAMPLER", tt.sampler)
			}
			provider := provide(t, Options{Endpoint: newCollector(t, http.StatusOK, nil).URL, Ratio: tt.ratio, Log: logr.Discard()})
			_, span := provider.Tracer("test").Start(t.Context(), "a")
			require.Equal(t, tt.want, span.SpanContext().IsSampled())
			require.NoError(t, provider.Shutdown(t.Context()))
		})
	}
}

// TestTrouble: a collector that hangs, refuses or is not there holds nobody up, and is
// told of once, not for each attempt.
func TestTrouble(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	busy := make(chan struct{})
	gone := newCollector(t, http.StatusOK, nil)
	gone.Close()
	for name, c := range map[string]*collector{
		"hangs": newCollector(t, http.StatusOK, busy), "refuses": newCollector(t, http.StatusServiceUnavailable, nil), "is gone": gone,
	} {
		t.Run(name, func(t *testing.T) {
			var lines atomic.Int64
			log := funcr.New(func(string, string) { lines.Add(1) }, funcr.Options{})
			provider := provide(t, Options{Endpoint: c.URL, Log: log})
			const moreThanQueued = 10_000
			spansNamed(t, provider, "a", moreThanQueued) // must not wait
			require.Eventually(t, func() bool { return lines.Load() > 0 }, time.Minute, time.Millisecond)
			spansNamed(t, provider, "b", moreThanQueued)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = provider.Shutdown(ctx) // flushes what it can
			require.LessOrEqual(t, lines.Load(), int64(2), "one a minute")
		})
	}
	close(busy)
}

func TestNoProvider(t *testing.T) {
	provider, err := NewProvider(t.Context(), Options{})
	require.NoError(t, err)
	require.Nil(t, provider, "off by default")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	provider, err = NewProvider(t.Context(), Options{Endpoint: "http://localhost:4318"})
	require.NoError(t, err)
	require.Nil(t, provider)
}

// TestEnvironment: what is not understood is refused at the start.
func TestEnvironment(t *testing.T) {
	notPEM := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(notPEM, []byte("x"), 0o600))
	const base, traces = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	for name, tt := range map[string]struct {
		env            map[string]string
		endpoint, fail string
	}{
		"nothing":      {nil, "", ""},
		"base":         {map[string]string{base: "http://a:4318"}, "http://a:4318/v1/traces", ""},
		"whole":        {map[string]string{traces: "https://b/here", base: "http://a:4318"}, "https://b/here", ""},
		"no URL":       {map[string]string{base: "collector:4318"}, "", `OTEL_EXPORTER_OTLP_ENDPOINT "collector:4318": want a URL`},
		"gRPC":         {map[string]string{base: "http://a:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "", "only http/protobuf"},
		"timeout":      {map[string]string{base: "http://a", "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "", "want a number of milliseconds"},
		"headers":      {map[string]string{base: "http://a", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a"}, "", "want name=value"},
		"no CA":        {map[string]string{base: "http://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/does/not/exist"}, "", "OTEL_EXPORTER_OTLP_CERTIFICATE: open"},
		"no PEM":       {map[string]string{base: "http://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": notPEM}, "", "holds no certificate"},
		"no attribute": {map[string]string{base: "http://a", "OTEL_RESOURCE_ATTRIBUTES": "nonsense"}, "", "OTEL_RESOURCE_ATTRIBUTES"},
	} {
		t.Run(name, func(t *testing.T) {
			for variable, value := range tt.env {
				t.Setenv(variable, value)
			}
			endpoint, err := findEndpoint("")
			if err == nil && tt.fail != "" {
				_, err = NewProvider(t.Context(), Options{})
			}
			if tt.fail != "" {
				require.ErrorContains(t, err, tt.fail)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.endpoint, endpoint)
		})
	}
}

// TestCertificate: a collector's CA may be given.
func TestCertificate(t *testing.T) {
	got := make(chan bool, 10)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got <- true }))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.crt")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	provider := provide(t, Options{Endpoint: server.URL, Log: logr.Discard()})
	spansNamed(t, provider, "a", 1)
	require.NoError(t, provider.Shutdown(t.Context()))
	require.True(t, <-got)
}
