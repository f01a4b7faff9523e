// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/webhook"
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
	return []task{source.Start}, nil
}

// inCluster completes the options for a server that shares its certificate with
// its replicas and watches the mesh.
func inCluster(f *serveFlags, opts *webhook.Options) ([]task, error) {
	namespace, service, ok := strings.Cut(f.service, "/")
	if !ok {
		return nil, usageError(fmt.Errorf("--service %q: want namespace/name", f.service))
	}
	restConfig, err := restConfig(f.kubeconfig)
	if err != nil {
		return nil, usageError(err)
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return nil, usageError(err)
	}
	source, err := f.certs.source(client, namespace, certs.Options{
		DNSNames: append([]string{service + "." + namespace + ".svc"}, f.dnsNames...),
	}, f.webhooks)
	if err != nil {
		return nil, usageError(err)
	}
	// A client of its own, so that whoever breaks the glass does not wait for others.
	glass, err := authorizationclient.NewForConfig(restConfig)
	if err != nil {
		return nil, usageError(err)
	}
	tasks, err := watchCluster(restConfig, client, f.webhooks, opts)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	opts.Certificates = source
	opts.BreakGlass = webhook.NewBreakGlass(glass)
	return append(tasks, source.Start), nil
}

// watchCluster completes the options with what is read from the cluster.
func watchCluster(restConfig *rest.Config, kubeClient kubernetes.Interface, webhooks string, opts *webhook.Options) ([]task, error) {
	cache, err := webhook.NewCache(restConfig)
	if err != nil {
		return nil, err
	}
	statusClient, err := webhook.NewClient(restConfig)
	if err != nil {
		return nil, err
	}
	events := record.NewBroadcaster()
	index := mesh.New(opts.Config)
	objects := webhook.NewMeshFeed(cache, index, rules.Reads())
	routes := webhook.NewRouteCondition(kubeClient, webhooks, opts.Log)
	policies := webhook.NewPolicyFeed(webhook.PolicyFeedOptions{
		Cache: cache, Client: statusClient, Index: index, Compiled: routes.Set, Registry: opts.Registry, Log: opts.Log,
		Events: events.NewRecorder(statusClient.Scheme(), corev1.EventSource{Component: "sallyport"}),
	})
	opts.Mesh, opts.Policies = index, policies
	opts.Ready = map[string]func(context.Context) error{"mesh": objects.Ready, "policies": policies.Ready}
	recordEvents := func(ctx context.Context) error {
		watch := events.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: kubeClient.CoreV1().Events("")})
		<-ctx.Done()
		watch.Stop()
		events.Shutdown()
		return nil
	}
	return []task{cache.Start, objects.Run, policies.Run, routes.Run, recordEvents}, nil
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
