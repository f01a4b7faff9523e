// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A receiver is a collector of spans: over HTTP, as Sallyport sends them, and over gRPC,
// as the API server does.
type receiver struct {
	collector.UnimplementedTraceServiceServer

	http *httptest.Server
	grpc *grpc.Server
	port net.Listener // of gRPC

	mu sync.Mutex
	// spans by name of the service
	spans map[string][]*tracepb.Span
}

func newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{grpc: grpc.NewServer(), spans: map[string][]*tracepb.Span{}}
	var err error
	if r.port, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	collector.RegisterTraceServiceServer(r.grpc, r)
	go func() { _ = r.grpc.Serve(r.port) }()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", r.serveHTTP)
	r.http = httptest.NewServer(mux)
	return r, nil
}

func (r *receiver) close() {
	r.http.Close()
	r.grpc.Stop()
}

// Export implements [collector.TraceServiceServer].
func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() != "service.name" {
				continue
			}
			for _, scope := range resource.GetScopeSpans() {
				service := a.GetValue().GetStringValue()
				r.spans[service] = append(r.spans[service], scope.GetSpans()...)
			}
		}
	}
	return new(collector.ExportTraceServiceResponse), nil
}

func (r *receiver) serveHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	request := new(collector.ExportTraceServiceRequest)
	if err := errors.Join(err, proto.Unmarshal(body, request)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := r.Export(req.Context(), request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, _ := proto.Marshal(response)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

// received returns the spans of a service so far.
func (r *receiver) received(service string) []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans[service])
}

// tracing makes the API server trace all requests.
const tracing = `
apiVersion: apiserver.config.k8s.io/v1
kind: TracingConfiguration
endpoint: %s
samplingRatePerMillion: 1000000
`

func (r *receiver) tracingFile() (string, error) {
	dir, err := os.MkdirTemp("", "sallyport-tracing-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "tracing.yaml")
	return file, os.WriteFile(file, fmt.Appendf(nil, tracing, r.port.Addr()), 0o600)
}

// TestTraces: the collector gets spans of what trouble had reviewed, which belong to the
// API server's, and say nothing but what they should.
func TestTraces(t *testing.T) {
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		theirs := map[string]bool{}
		for _, span := range spans.received("apiserver") {
			theirs[string(span.GetSpanId())] = true
		}
		names, decisions := map[string][]string{}, map[string]bool{} // names by trace
		for _, span := range spans.received("sallyport") {
			if trace := string(span.GetTraceId()); theirs[string(span.GetParentSpanId())] {
				names[trace] = append(names[trace], span.GetName())
			}
			decisions[attributes(span)["sallyport.decision"]] = true
		}
		assert.Contains(c, slices.Collect(maps.Values(names)), []string{"POST /mutate", "POST /validate"}, "one trace, below the API server's spans")
		for _, decision := range []string{"deny", "mutate", "breakglass"} {
			assert.True(c, decisions[decision], decision)
		}
	}, time.Minute, 50*time.Millisecond)
	for _, span := range spans.received("sallyport") {
		for key := range attributes(span) {
			require.Contains(t, []string{
				"sallyport.decision", "sallyport.operation", "sallyport.kind", "sallyport.dry_run", "k8s.namespace.name",
			}, key)
		}
		require.NotContains(t, span.String(), "example.com")
	}
}

func attributes(span *tracepb.Span) map[string]string {
	all := map[string]string{}
	for _, a := range span.GetAttributes() {
		all[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return all
}
