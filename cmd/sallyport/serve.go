// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/webhook"
)

type serveFlags struct {
	kubeconfig string
	standalone bool
	config     string
	listen     string
	probes     string
	metrics    string
	service    string
	pod        string
	dnsNames   []string
	webhooks   string
	expect     string
	certs      certFlags
	minTLS     string
	pprof      string
	tracing    tracingFlags
	drainDelay time.Duration
	verbosity  int
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the webhook server",
		Long: `Run the webhook server. In a cluster it watches the objects that rules read, and
keeps its certificate in a Secret and the CA in the webhook configurations. With
--cert-mode cert-manager it asks cert-manager for the certificate; with --cert-mode
files somebody else puts it into files, at any time, and the CA too if there is a
--ca-file.

With --standalone it serves on localhost with a CA in memory, the built-in policy
and no cluster, and prints the CA to standard output: for trying it with curl.`,
		Example: `  sallyport serve --service sallyport-system/sallyport
  sallyport serve --cert-mode cert-manager --issuer ClusterIssuer/corporate
  sallyport serve --kubeconfig ~/.kube/config --dns-name host.example.com
  sallyport serve --standalone --listen localhost:9443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.standalone {
				if err := f.setStandalone(cmd.Flags()); err != nil {
					return usageError(err)
				}
			}
			if err := f.certs.check(f.standalone); err != nil {
				return usageError(err)
			}
			if err := f.tracing.check(cmd.Flags()); err != nil {
				return usageError(err)
			}
			return serve(cmd.Context(), &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file`; without one, the pod's service account is used")
	flags.BoolVar(&f.standalone, "standalone", false, "serve without a cluster")
	flags.StringVar(&f.config, "config", "", "Configuration `file`: facts about the mesh")
	flags.StringVar(&f.listen, "listen", "", "`address` for the API server's calls, over TLS (default :9443, standalone localhost:9443)")
	flags.StringVar(&f.probes, "listen-probes", ":8081", "`address` for /healthz and /readyz, and standalone, at localhost:8081, for /metrics too; empty for none")
	flags.StringVar(&f.metrics, "listen-metrics", ":8443", "`address` for /metrics over TLS, for bearer tokens of users who may get the nonResourceURL /metrics; empty for none")
	flags.StringVar(&f.service, "service", defaultService, "`namespace/name` of the Service in front of the server; its certificate is for that name, and the Secret in that namespace")
	flags.StringVar(&f.pod, "pod", "", "`name/uid` of the server's pod, with which the Lease ends that tells of the server")
	flags.StringSliceVar(&f.dnsNames, "dns-name", nil, "further DNS `names` of the certificate, for callers that do not use the Service")
	flags.StringVar(&f.webhooks, "webhook-configuration", defaultConfigurations, "`name` of the webhook configurations that get the CA")
	flags.StringVar(&f.expect, "expect", "", "`file` with the manifests of the webhook configurations; what differs from them in the cluster is told in metrics and events")
	f.certs.add(flags)
	f.tracing.add(flags)
	complete(cmd, "cert-mode", certModes...)
	flags.StringVar(&f.minTLS, "tls-min-version", "1.3", "oldest `version` of TLS that is spoken: "+enumeration(tlsVersions))
	complete(cmd, "tls-min-version", tlsVersions...)
	flags.StringVar(&f.pprof, "listen-pprof", "", "loopback `address`, such as localhost:6060, for Go's profiles; empty for none")
	flags.DurationVar(&f.drainDelay, "drain-delay", 10*time.Second, "how long to go on serving after SIGTERM, while endpoints forget the server")
	flags.IntVarP(&f.verbosity, "verbosity", "v", 0, "log `level`: 0 for operators, 1 for debugging")
	return cmd
}

// setStandalone changes what is not set to what suits a server that no cluster knows.
func (f *serveFlags) setStandalone(flags *pflag.FlagSet) error {
	if flags.Changed("listen-metrics") && f.metrics != "" {
		return errors.New("--standalone knows nobody who could ask --listen-metrics; /metrics is at --listen-probes")
	}
	f.metrics = ""
	if !flags.Changed("listen-probes") {
		f.probes = "localhost:8081"
	}
	if !flags.Changed("drain-delay") {
		f.drainDelay = 0 // no endpoints have to forget it
	}
	return nil
}

func serve(ctx context.Context, f *serveFlags, stdout, stderr io.Writer) error {
	log := newLogger(stderr, f.verbosity)
	ctrl.SetLogger(log)
	opts, err := serverOptions(f, log)
	if err != nil {
		return err
	}
	if opts.MinTLSVersion, err = tlsVersion(f.minTLS); err != nil {
		return usageError(err)
	}
	profiles, err := profiles(ctx, f.pprof)
	if err != nil {
		return usageError(err)
	}
	var tasks []task
	if f.standalone {
		tasks, err = standalone(opts, stdout)
	} else {
		tasks, err = inCluster(f, opts)
	}
	if err != nil {
		return err
	}
	clients, err := f.certs.clients(opts)
	if err != nil {
		return err
	}
	tracing, err := f.tracing.trace(ctx, opts)
	if err != nil {
		return err
	}
	server, err := listen(ctx, f, opts)
	if err != nil {
		return err
	}
	log.Info("Started", "version", buildVersion(), "listen", opts.Listener.Addr().String(), "probes", addressOf(opts.Probes),
		"metrics", addressOf(opts.Metrics), "rules", len(rules.All))
	return runAll(logr.NewContext(ctx, log), server.Run, slices.Concat(tasks, clients, tracing, profiles))
}

// runAll runs the server until ctx is done or a task fails, and the tasks for as
// long as the server answers.
func runAll(ctx context.Context, server task, tasks []task) error {
	serving, cancel := context.WithCancelCause(ctx)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group errgroup.Group
	for _, t := range tasks {
		group.Go(func() error {
			err := t(background)
			if err != nil && background.Err() == nil {
				cancel(err) // nothing is in order without it
			}
			return nil
		})
	}
	err := server(serving)
	stop()
	_ = group.Wait() // tasks have told cancel why they failed
	if cause := context.Cause(serving); ctx.Err() == nil && cause != nil {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	if err != nil {
		return &exitError{code: exitCluster, err: err}
	}
	return nil
}

func newLogger(w io.Writer, verbosity int) logr.Logger {
	// logr's V(n) is slog's level -n.
	return logr.FromSlogHandler(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.Level(-verbosity)}))
}

func serverOptions(f *serveFlags, log logr.Logger) (*webhook.Options, error) {
	suite, err := analysis.NewSuite(rules.All...)
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	conf, err := readConfig(f.config)
	if err != nil {
		return nil, usageError(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newBuildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &webhook.Options{
		Suite: suite, Mutators: rules.Mutators, Config: conf, DrainDelay: f.drainDelay, Registry: registry, Log: log,
	}, nil
}

// listen opens the ports and makes the server on them.
func listen(ctx context.Context, f *serveFlags, opts *webhook.Options) (*webhook.Server, error) {
	address := f.listen
	if address == "" {
		address = ":9443"
		if f.standalone {
			address = "localhost:9443"
		}
	}
	for _, port := range []struct {
		flag, address string
		listener      *net.Listener
	}{
		{"--listen", address, &opts.Listener},
		{"--listen-probes", f.probes, &opts.Probes},
		{"--listen-metrics", f.metrics, &opts.Metrics},
	} {
		if port.address == "" {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", port.address)
		if err != nil {
			return nil, usageError(fmt.Errorf("%s: %w", port.flag, err))
		}
		*port.listener = l
	}
	server, err := webhook.New(*opts)
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	return server, nil
}

func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
