// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	admissionv1 "k8s.io/api/admission/v1"
)

// startSpan starts the span of a review, in the trace that the API server may have
// begun. Without a tracer it costs nothing, and the span does nothing.
func startSpan(ctx context.Context, tracer trace.Tracer, r *http.Request) (context.Context, trace.Span) {
	if tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	return tracer.Start(ctx, "POST "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
}

// describe says in the span what was decided about what kind of request: no content, no
// names and no users. The request is nil if it could not be read.
func describe(span trace.Span, req *admissionv1.AdmissionRequest, decision string) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("sallyport.decision", decision))
	switch decision {
	case decisionError, decisionShed, decisionNotReady, decisionTimeout:
		span.SetStatus(codes.Error, "")
	}
	if req == nil {
		return
	}
	operation, kind := labels(req)
	span.SetAttributes(
		attribute.String("sallyport.operation", operation),
		attribute.String("sallyport.kind", kind),
		attribute.String("k8s.namespace.name", cut(req.Namespace, maxValueLength)),
		attribute.Bool("sallyport.dry_run", isDryRun(req)),
	)
}
