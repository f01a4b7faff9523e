// SPDX-License-Identifier: Apache-2.0

// Package otlp sends spans to a collector, in OTLP over HTTP.
//
// OpenTelemetry's own exporter of the kind would make the binary half as big again, by
// gRPC, which it does not need for this.
package otlp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// Options say where spans go.
type Options struct {
	// Endpoint is the URL of the collector, as http://collector:4318; empty is what
	// OTEL_EXPORTER_OTLP_ENDPOINT says. // optional
	Endpoint string
	// Ratio is the part that is traced of what no caller says; nil is what
	// OTEL_TRACES_SAMPLER says, or all. // optional
	Ratio *float64
	// Version is that of the service.
	Version string
	// Log gets a line a minute while the collector cannot be reached.
	Log logr.Logger
}

// NewProvider returns a provider of tracers, or nil if neither the options nor the
// environment name a collector, or OTEL_SDK_DISABLED is true. Its Shutdown must be called.
//
// Of the environment it knows OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _TIMEOUT and
// _CERTIFICATE, each also as OTEL_EXPORTER_OTLP_TRACES_..., and what OpenTelemetry's SDK
// reads: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_... .
//
// Who makes spans never waits for the collector. Spans that it does not take are lost.
func NewProvider(ctx context.Context, opts Options) (*sdktrace.TracerProvider, error) {
	endpoint, err := findEndpoint(opts.Endpoint)
	if endpoint == "" || err != nil {
		return nil, err
	}
	if disabled, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); disabled {
		return nil, nil
	}
	client, err := newClient(endpoint, opts.Log)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, err
	}
	service, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "sallyport"), attribute.String("service.version", opts.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	with := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exporter), sdktrace.WithResource(service)}
	if opts.Ratio != nil {
		with = append(with, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(*opts.Ratio))))
	}
	return sdktrace.NewTracerProvider(with...), nil
}

// env returns a variable of the exporter, the one for traces before the one for all.
func env(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

// findEndpoint returns the URL that traces are posted to; empty if there is none.
func findEndpoint(base string) (string, error) {
	name, whole := "--otlp-endpoint", ""
	if base == "" {
		name, whole = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	}
	if base == "" && whole == "" {
		name, base = "OTEL_EXPORTER_OTLP_ENDPOINT", os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	text := cmp.Or(base, whole)
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%s %q: want a URL such as http://collector:4318", name, text)
	}
	if protocol := env("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL %q: only http/protobuf is supported; its port is usually 4318", protocol)
	}
	if base != "" {
		u = u.JoinPath("v1", "traces")
	}
	return u.String(), nil
}

// A client posts spans. It is an [otlptrace.Client].
type client struct {
	endpoint string
	header   http.Header
	timeout  time.Duration
	http     *http.Client
	log      logr.Logger
	complain rate.Sometimes
}

func newClient(endpoint string, log logr.Logger) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	c := &client{
		endpoint: endpoint, timeout: 10 * time.Second, http: &http.Client{Transport: transport},
		log: log, complain: rate.Sometimes{Interval: time.Minute},
	}
	if file := env("CERTIFICATE"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %s holds no certificate", file)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if text := env("TIMEOUT"); text != "" {
		milliseconds, err := strconv.Atoi(text)
		if err != nil || milliseconds <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT %q: want a number of milliseconds", text)
		}
		c.timeout = time.Duration(milliseconds) * time.Millisecond
	}
	var err error
	c.header, err = parseHeaders(env("HEADERS"))
	return c, err
}

// parseHeaders reads name=value,name=value, where values are encoded as in URLs.
func parseHeaders(text string) (http.Header, error) {
	header := http.Header{"Content-Type": {"application/x-protobuf"}}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: want name=value,name=value with values encoded as in URLs")
		}
		header.Set(strings.TrimSpace(name), decoded)
	}
	return header, nil
}

// Start implements [otlptrace.Client].
func (*client) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client].
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements [otlptrace.Client]. It tells of a failure itself, since the SDK
// would do so for each.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	if err := c.post(ctx, spans); err != nil {
		c.complain.Do(func() {
			c.log.Error(err, "Could not send spans; they are lost, and nothing else is", "endpoint", c.endpoint)
		})
	}
	return nil
}

func (c *client) post(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// An ExportTraceServiceRequest, whose package needs gRPC, is encoded alike.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = c.header.Clone()
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	const enough = 512
	said, _ := io.ReadAll(io.LimitReader(res.Body, enough))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("the collector answers %s: %q", res.Status, said)
	}
	return nil
}
