// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"
)

// traced returns the server's spans of what send does.
func traced(t *testing.T, send func(url string)) tracetest.SpanStubs {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	opts := testOptions(t)
	opts.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	send(serve(t, newTestServer(t, opts)))
	return spans.GetSpans()
}

// TestSpans: a span tells what was decided about what kind of request, and nothing else
// of it.
func TestSpans(t *testing.T) {
	secret := withMeta(t, wildcardEntry, `"annotations":{"secret":"secret"}`)
	spans := traced(t, func(url string) {
		review(t, url+ValidatePath, newRequest(t, secret, func(r *admissionv1.AdmissionRequest) {
			r.UserInfo.Username, r.DryRun = "alice", new(true)
		}))
		review(t, url+MutatePath, newRequest(t, bareRoute))
		post(t, url+ValidatePath, []byte("{"))
		post(t, url+ValidatePath, encode(t, newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) {
			r.Kind.Kind, r.Operation, r.Namespace = "Hostile", "HOSTILE", strings.Repeat("x", 1000)
		})))
	})
	require.Len(t, spans, 4)
	require.Equal(t, "POST /validate", spans[0].Name)
	require.Equal(t, trace.SpanKindServer, spans[0].SpanKind)
	require.ElementsMatch(t, []attribute.KeyValue{
		attribute.String("sallyport.decision", "deny"), attribute.String("sallyport.operation", "CREATE"),
		attribute.String("sallyport.kind", "ServiceEntry"), attribute.String("k8s.namespace.name", "shop"),
		attribute.Bool("sallyport.dry_run", true),
	}, spans[0].Attributes)
	require.Equal(t, codes.Unset, spans[0].Status.Code, "a denial is no error")
	require.Equal(t, "POST /mutate", spans[1].Name)
	require.Contains(t, spans[1].Attributes, attribute.String("sallyport.decision", "mutate"))
	require.Equal(t, codes.Error, spans[2].Status.Code)
	require.Equal(t, []attribute.KeyValue{attribute.String("sallyport.decision", "error")}, spans[2].Attributes)
	require.Contains(t, spans[3].Attributes, attribute.String("sallyport.kind", "other"))
	for _, span := range spans {
		text := fmt.Sprintf("%+v", span)
		for _, no := range []string{"alice", "secret", "example.com", "api", "Hostile", "HOSTILE", strings.Repeat("x", 65)} {
			require.NotContains(t, text, no)
		}
	}
}

// TestSpanHasParent: a review belongs to the trace of the request that it is about.
func TestSpanHasParent(t *testing.T) {
	spans := traced(t, func(url string) {
		for _, parent := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "nonsense"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+ValidatePath, bytes.NewReader(encode(t, newRequest(t, cleanEntry))))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Traceparent", parent)
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusOK, res.StatusCode)
		}
	})
	require.Len(t, spans, 2)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", spans[0].SpanContext.TraceID().String())
	require.Equal(t, "b7ad6b7169203331", spans[0].Parent.SpanID().String())
	require.False(t, spans[1].Parent.IsValid())
}

// TestNoTracerIsFree: without tracing, spans cost no allocation.
func TestNoTracerIsFree(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, ValidatePath, http.NoBody)
	req := newRequest(t, cleanEntry)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, span := startSpan(r.Context(), nil, r)
		describe(span, req, decisionAllow)
		span.End()
	}))
}
