// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"errors"
	"fmt"

	istioscheme "istio.io/client-go/pkg/clientset/versioned/scheme"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// NewCache returns a cache of what is in the cluster, from which [NewMeshFeed] and
// [NewPolicyFeed] read. It must be started.
func NewCache(restConfig *rest.Config) (cache.Cache, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := cache.New(restConfig, cache.Options{Scheme: scheme, DefaultTransform: strip})
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	return c, nil
}

// NewClient returns a client for what the server writes.
func NewClient(restConfig *rest.Config) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(restConfig, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	return c, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(istioscheme.AddToScheme(scheme), corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// strip takes away what no rule reads, which may be most of an object.
func strip(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		o.SetManagedFields(nil)
		if annotations := o.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
			delete(annotations, corev1.LastAppliedConfigAnnotation)
		}
	}
	return obj, nil
}
