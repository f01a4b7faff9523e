// SPDX-License-Identifier: Apache-2.0

// Demo starts a real control plane, runs Sallyport against it and applies the
// samples with kubectl. Then it stays up until Ctrl-C, so that you can play with
// it; with DEMO=once in the environment it ends by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Getenv("DEMO") == "once")
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, once bool) (err error) {
	p := newPrinter(out)
	samples := filepath.Join(cluster.Root(), "deploy", "samples")
	p.step("Starting etcd and kube-apiserver with Istio's CRDs")
	c, err := cluster.Start(ctx, cluster.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()

	p.step("Starting Sallyport and registering its webhooks")
	server, err := sallyport.Start(ctx, c, sallyport.Options{Args: []string{"--config", filepath.Join(samples, "config", "mesh.yaml")}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	k := &kubectl{path: c.Kubectl, kubeconfig: c.Kubeconfig}
	for _, namespace := range []string{"shop", "storefront", "istio-egress"} {
		if _, message, err := k.run(ctx, nil, "create", "namespace", namespace); err != nil {
			return fmt.Errorf("create namespace %s: %w: %s", namespace, err, message)
		}
	}
	gateway := filepath.Join(samples, "policies", "through-the-gateway.yaml")
	if _, message, err := k.run(ctx, nil, "apply", "-f", gateway); err != nil {
		return fmt.Errorf("apply %s: %w: %s", gateway, err, message)
	}
	if err := applySamples(ctx, p, k, samples); err != nil {
		return err
	}
	if once {
		return nil
	}
	p.line("")
	p.line("The cluster stays up until Ctrl-C. In another terminal:")
	p.line("")
	p.line("  export KUBECONFIG=" + c.Kubeconfig)
	p.line("  " + c.Kubectl + " apply -f deploy/samples/saas-api-refused.yaml")
	p.line("")
	p.line("Sallyport's log: " + server.LogFile)
	<-ctx.Done()
	return nil
}

// applySamples applies every object of the samples and shows what became of it.
// It returns an error if that is not what the object's comment says.
func applySamples(ctx context.Context, p *printer, k *kubectl, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return errors.Join(fmt.Errorf("find samples in %s", dir), err)
	}
	slices.SortFunc(files, byPairs)
	var wrong []error
	for _, file := range files {
		samples, err := readSamples(file)
		if err != nil {
			return err
		}
		p.file(filepath.Base(file))
		for _, s := range samples {
			r, err := k.apply(ctx, s)
			if err != nil {
				return fmt.Errorf("apply %s of %s: %w", s, file, err)
			}
			p.sample(s, r)
			wrong = append(wrong, s.check(r))
		}
	}
	return errors.Join(wrong...)
}

// byPairs puts a sample before its refused twin.
func byPairs(a, b string) int {
	return strings.Compare(strings.TrimSuffix(a, ".yaml"), strings.TrimSuffix(b, ".yaml"))
}
