// SPDX-License-Identifier: Apache-2.0

// Bench measures, through a real API server, what Sallyport's webhooks add to
// the time of a request, against webhooks that do nothing. Requests are dry-run
// creates; the two and no webhook at all are called interleaved, in one run, and
// compared as a ratio, since absolute times depend on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// The namespaces, each watched by other webhooks.
const (
	withNone      = "bench-none"
	withNoop      = "bench-noop"
	withSallyport = "bench-sallyport"
)

func main() {
	calls := flag.Int("calls", 1000, "requests of each kind to each namespace")
	noop := flag.String("serve-noop", "", "serve the no-op webhook with the certificate in this `folder` (the bench calls itself so)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *noop != "" {
		err = serveNoop(*noop)
	} else {
		err = run(ctx, os.Stdout, *calls)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, calls int) (err error) {
	c, err := cluster.Start(ctx, cluster.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := createNamespaces(ctx, c.Config); err != nil {
		return err
	}
	noop, err := startNoop(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, noop.stop()) }()
	server, err := sallyport.Start(ctx, c, sallyport.Options{
		Configurations: sallyport.Configurations{Namespaces: []string{withSallyport}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	atRest, err := readUsage(ctx, server.Probes)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d dry-run creates of each kind in each namespace, interleaved, one at a time\n\n", calls)
	for _, object := range objects {
		if err := measure(ctx, out, c.Config, object, calls); err != nil {
			return err
		}
	}
	after, err := readUsage(ctx, server.Probes)
	if err != nil {
		return err
	}
	requests := after.requests - atRest.requests
	fmt.Fprintf(out, "\nSallyport itself: %.2f CPU seconds per 1,000 reviews, %.0f MiB resident at rest, %.0f MiB after %.0f reviews\n",
		(after.cpuSeconds-atRest.cpuSeconds)/requests*1000, atRest.residentMiB, after.residentMiB, requests)
	return nil
}

func measure(ctx context.Context, out io.Writer, config *rest.Config, object benchObject, calls int) error {
	client, err := newDryRunner(config)
	if err != nil {
		return err
	}
	arms := map[string]*arm{}
	var list []*arm
	for _, namespace := range []string{withNone, withNoop, withSallyport} {
		a := &arm{name: namespace, call: client.create(ctx, namespace, object)}
		arms[namespace] = a
		list = append(list, a)
	}
	if err := interleave(list, calls, 100); err != nil {
		return err
	}
	none, noop, sally := arms[withNone], arms[withNoop], arms[withSallyport]
	fmt.Fprintf(out, "%s\n%24s %10s %10s %10s\n", object.name, "", "p50", "p90", "p99")
	for _, row := range []struct {
		name string
		arm  *arm
	}{{"no webhook", none}, {object.noop, noop}, {"Sallyport", sally}} {
		fmt.Fprintf(out, "%24s %8.2fms %8.2fms %8.2fms\n", row.name,
			milliseconds(row.arm.quantile(0.5)), milliseconds(row.arm.quantile(0.9)), milliseconds(row.arm.quantile(0.99)))
	}
	r := compare(sally, noop, none)
	fmt.Fprintf(out, "  Sallyport adds %.2f times what %s adds (blocks: %.2f to %.2f); on top of it %+.2f ms at the median\n",
		r.median, object.noop, r.low, r.high, milliseconds(sally.quantile(0.5)-noop.quantile(0.5)))
	return nil
}
