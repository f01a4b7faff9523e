// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/sallyport-dev/sallyport/webhook"
	"github.com/sallyport-dev/sallyport/webhook/otlp"
)

// tracingFlags say where the spans of reviews go.
type tracingFlags struct {
	endpoint string
	ratio    float64
	// byRatio is set if the ratio is.
	byRatio bool
}

func (f *tracingFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.endpoint, "otlp-endpoint", "", "`URL` of a collector for spans of reviews, in OTLP over HTTP, such as http://collector:4318 (default OTEL_EXPORTER_OTLP_ENDPOINT, else none)")
	flags.Float64Var(&f.ratio, "otlp-sample-ratio", 1, "`part` of the reviews that is traced where the API server does not trace the request; else OTEL_TRACES_SAMPLER says")
}

func (f *tracingFlags) check(flags *pflag.FlagSet) error {
	f.byRatio = flags.Changed("otlp-sample-ratio")
	if f.ratio < 0 || f.ratio > 1 {
		return errors.New("--otlp-sample-ratio: want a number between 0 and 1")
	}
	return nil
}

// flushTimeout bounds how long a server that ends waits for the collector.
const flushTimeout = 3 * time.Second

// trace completes the options with a tracer, if there is somewhere to send spans.
func (f *tracingFlags) trace(ctx context.Context, opts *webhook.Options) ([]task, error) {
	to := otlp.Options{Endpoint: f.endpoint, Version: buildVersion(), Log: opts.Log}
	if f.byRatio {
		to.Ratio = &f.ratio
	}
	provider, err := otlp.NewProvider(ctx, to)
	if err != nil {
		return nil, usageError(err)
	}
	if provider == nil {
		return nil, nil
	}
	opts.Tracer = provider.Tracer("github.com/sallyport-dev/sallyport/webhook")
	return []task{func(ctx context.Context) error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		return provider.Shutdown(ctx)
	}}, nil
}
