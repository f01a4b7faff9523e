// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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
	source, err := certs.NewSelfSigned(client, certs.SelfSignedOptions{
		Options:                 certs.Options{DNSNames: append([]string{service + "." + namespace + ".svc"}, f.dnsNames...)},
		Namespace:               namespace,
		Secret:                  f.secret,
		ValidatingConfiguration: f.webhooks,
		MutatingConfiguration:   f.webhooks,
	})
	if err != nil {
		return nil, usageError(err)
	}
	index := mesh.New(opts.Config)
	feed, err := webhook.NewMeshFeed(restConfig, index, rules.Reads())
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	opts.Certificates = source
	opts.Mesh = index
	opts.Ready = map[string]func(context.Context) error{"mesh": feed.Ready}
	return []task{source.Start, feed.Run}, nil
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
