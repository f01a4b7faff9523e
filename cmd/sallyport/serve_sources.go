// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/webhook"
	"github.com/sallyport-dev/sallyport/webhook/drift"
	"github.com/sallyport-dev/sallyport/webhook/replica"
)

// A task runs beside the server until its context is done.
type task func(context.Context) error

// standalone completes the options for a server that knows no cluster.
func standalone(opts *webhook.Options, stdout io.Writer) ([]task, error) {
	source, err := certs.NewInMemory(certs.Options{DNSNames: []string{"localhost"}})
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	if _, err := stdout.Write(source.CABundle()); err != nil {
		return nil, err
	}
	opts.Certificates = source
	opts.OpenMetrics = true
	return []task{source.Start}, nil
}

// inCluster completes the options for a server that shares its certificate with
// its replicas and watches the mesh.
func inCluster(f *serveFlags, opts *webhook.Options) ([]task, error) {
	namespace, dnsName, err := parseService(f.service)
	if err != nil {
		return nil, usageError(err)
	}
	restConfig, err := restConfig(f.kubeconfig)
	if err != nil {
		return nil, usageError(err)
	}
	api, err := newAPI(restConfig)
	if err != nil {
		return nil, usageError(err)
	}
	source, err := f.certs.source(api, namespace, certs.Options{
		DNSNames: append([]string{dnsName}, f.dnsNames...), Registerer: opts.Registry, Events: api.events,
	}, f.webhooks)
	if err != nil {
		return nil, usageError(err)
	}
	drifts, err := watchDrift(api, f.expect, opts)
	if err != nil {
		return nil, usageError(err)
	}
	tasks, policies, err := watchCluster(api, f.webhooks, opts)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	lease, err := announce(api, f.pod, namespace, policies.Generation, opts.Log)
	if err != nil {
		return nil, usageError(err)
	}
	tasks = append(tasks, lease)
	tasks = append(tasks, drifts...)
	opts.Certificates = source
	opts.BreakGlass = webhook.NewBreakGlass(api.glass)
	opts.MetricsGuard = webhook.NewScrapeGuard(api.scrapers.AuthenticationV1(), api.scrapers.AuthorizationV1(), opts.Log)
	return append(tasks, source.Start, api.recordEvents), nil
}

// parseService returns the namespace of --service, and the name by which the API
// server calls it.
func parseService(service string) (namespace, dnsName string, err error) {
	namespace, name, ok := strings.Cut(service, "/")
	if !ok {
		return "", "", fmt.Errorf("--service %q: want namespace/name", service)
	}
	return namespace, name + "." + namespace + ".svc", nil
}

// parsePod returns the pod of --pod; nil without one.
func parsePod(pod string) (*replica.Pod, error) {
	if pod == "" {
		return nil, nil
	}
	name, uid, ok := strings.Cut(pod, "/")
	if !ok || name == "" || uid == "" {
		return nil, fmt.Errorf("--pod %q: want name/uid", pod)
	}
	return &replica.Pod{Name: name, UID: types.UID(uid)}, nil
}

// An api is the API server, by its clients.
type api struct {
	config *rest.Config
	core   kubernetes.Interface
	// glass is a client of its own, so that whoever breaks the glass does not wait
	// for others.
	glass authorizationclient.AuthorizationV1Interface
	// scrapers asks who may read metrics. It is a client of its own too, since anybody
	// can make it wait.
	scrapers kubernetes.Interface
	// policies writes their status.
	policies client.Client

	broadcaster record.EventBroadcaster
	events      record.EventRecorder
}

func newAPI(config *rest.Config) (*api, error) {
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	glass, err := authorizationclient.NewForConfig(unhurried(config))
	if err != nil {
		return nil, err
	}
	scrapers, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	policies, err := webhook.NewClient(config)
	if err != nil {
		return nil, err
	}
	broadcaster := record.NewBroadcaster()
	events := broadcaster.NewRecorder(policies.Scheme(), corev1.EventSource{Component: "sallyport"})
	return &api{config: config, core: core, glass: glass, scrapers: scrapers, policies: policies, broadcaster: broadcaster, events: events}, nil
}

// unhurried returns the configuration for a client whose rate keeps nobody out: whoever
// writes many objects with the annotation must not make the others wait.
func unhurried(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 100, 200
	return config
}

// recordEvents writes events into the cluster.
func (a *api) recordEvents(ctx context.Context) error {
	watch := a.broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: a.core.CoreV1().Events("")})
	<-ctx.Done()
	watch.Stop()
	a.broadcaster.Shutdown()
	return nil
}

// watchCluster completes the options with what is read from the cluster.
func watchCluster(api *api, webhooks string, opts *webhook.Options) ([]task, *webhook.PolicyFeed, error) {
	cache, err := webhook.NewCache(api.config)
	if err != nil {
		return nil, nil, err
	}
	index := mesh.New(opts.Config)
	objects := webhook.NewMeshFeed(cache, index, rules.Reads())
	routes := webhook.NewRouteCondition(api.core, webhooks, opts.Log)
	policies := webhook.NewPolicyFeed(webhook.PolicyFeedOptions{
		Cache: cache, Client: api.policies, Index: index, Config: opts.Config, Compiled: routes.Set, Registry: opts.Registry, Log: opts.Log,
		Events: api.events,
	})
	opts.Mesh, opts.Policies = index, policies
	opts.Ready = map[string]func(context.Context) error{"mesh": objects.Ready, "policies": policies.Ready}
	return []task{cache.Start, objects.Run, policies.Run, routes.Run}, policies, nil
}

// announce returns a task that says in a Lease what the server is.
func announce(api *api, pod, namespace string, policies func() string, log logr.Logger) (task, error) {
	owner, err := parsePod(pod)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return replica.Announce(ctx, replica.Options{
			Leases: api.core.CoordinationV1().Leases(namespace), Host: host, Version: buildVersion(), Pod: owner,
			Policies: policies, Log: log,
		})
	}, nil
}

// watchDrift returns a task that compares the webhook configurations with the file.
func watchDrift(api *api, file string, opts *webhook.Options) ([]task, error) {
	if file == "" {
		opts.Log.V(1).Info("Not told what the webhook configurations should be: give --expect FILE")
		return nil, nil
	}
	want, err := readExpected(file)
	if err != nil {
		return nil, err
	}
	return []task{drift.NewWatcher(drift.Options{
		Client: api.core, Want: want, Registerer: opts.Registry, Events: api.events, Log: opts.Log,
	}).Run}, nil
}

// readExpected reads the manifests of --expect.
func readExpected(file string) (*drift.Configurations, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--expect: %w", err)
	}
	want, err := drift.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("--expect %s: %w", file, err)
	}
	return want, nil
}

// restConfig says how to reach the API server: as the kubeconfig file says, else
// as the pod's service account.
func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		return c, nil
	}
	c, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("this is no pod: use --kubeconfig FILE for a cluster, or --standalone for none")
	}
	return c, err
}
