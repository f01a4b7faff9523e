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
	withPatching  = "bench-patching"
	withSallyport = "bench-sallyport"
)

func main() {
	calls := flag.Int("calls", 1000, "requests of each kind to each namespace")
	noop := flag.String("serve-noop", "", "serve the no-op webhook with the certificate in this `folder` (the bench calls itself so)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *noop != "" {
		err = serveNoop(ctx, *noop)
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

	atRest, err := readUsage(ctx, server, c.Config)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d dry-run creates of each kind in each namespace, interleaved, one at a time\n\n", calls)
	for _, object := range objects {
		if err := measure(ctx, out, c.Config, object, calls); err != nil {
			return err
		}
	}
	after, err := readUsage(ctx, server, c.Config)
	if err != nil {
		return err
	}
	requests := after.requests - atRest.requests
	fmt.Fprintf(out, "\nSallyport itself: %.2f ms a review in its handler, %.2f CPU seconds per 1,000 reviews, %.0f MiB resident at rest, %.0f MiB after %.0f reviews\n",
		(after.handlerSeconds-atRest.handlerSeconds)/requests*1000, (after.cpuSeconds-atRest.cpuSeconds)/requests*1000,
		atRest.residentMiB, after.residentMiB, requests)
	return nil
}

func measure(ctx context.Context, out io.Writer, config *rest.Config, object benchObject, calls int) error {
	client, err := newDryRunner(config)
	if err != nil {
		return err
	}
	newArm := func(name, namespace string) *arm {
		return &arm{name: name, call: client.create(ctx, namespace, object)}
	}
	none, noop, sally := newArm("no webhook", withNone), newArm(object.noop, withNoop), newArm("Sallyport", withSallyport)
	arms := []*arm{none, noop, sally}
	var patch *arm
	if object.injected {
		patch = newArm("a pair with a fixed patch", withPatching)
		arms = []*arm{none, noop, patch, sally}
	}
	if err := interleave(arms, calls, 100); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%28s %10s %10s %10s\n", object.name, "", "p50", "p90", "p99")
	for _, a := range arms {
		fmt.Fprintf(out, "%28s %8.2fms %8.2fms %8.2fms\n", a.name,
			milliseconds(a.quantile(0.5)), milliseconds(a.quantile(0.9)), milliseconds(a.quantile(0.99)))
	}
	printRatio(out, sally, noop, none)
	if patch != nil {
		printRatio(out, sally, patch, none)
	}
	return nil
}

func printRatio(out io.Writer, sally, other, none *arm) {
	r := compare(sally, other, none)
	fmt.Fprintf(out, "  Sallyport adds %.2f times what %s adds (blocks: %.2f to %.2f); on top of it %+.2f ms at the median\n",
		r.median, other.name, r.low, r.high, milliseconds(sally.quantile(0.5)-other.quantile(0.5)))
}
