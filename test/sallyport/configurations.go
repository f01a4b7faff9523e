// SPDX-License-Identifier: Apache-2.0

package sallyport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// Configurations say how the webhooks of deploy/webhooks.yaml are registered.
type Configurations struct {
	// Namespaces limits them to these namespaces; empty is all. // optional
	Namespaces []string
	// CABundle is the CA of the server; empty if the server puts it there
	// itself. // optional
	CABundle []byte
	// Name replaces the configurations' name. // optional
	Name string
}

// CreateNamespace makes the namespace that Sallyport is installed in.
func CreateNamespace(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "sallyport-system"}}
	_, err = client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	return err
}

// Register registers the webhooks at the URL, for a server that is not started
// by this package.
func Register(ctx context.Context, config *rest.Config, url string, conf Configurations) error {
	return conf.apply(ctx, config, url)
}

// apply creates the configurations, with the URL in place of the Service, which
// a control plane without nodes cannot reach.
func (conf *Configurations) apply(ctx context.Context, config *rest.Config, url string) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	deployed, err := load()
	if err != nil {
		return err
	}
	validating, mutating := &deployed.validating, &deployed.mutating
	if conf.Name == "" {
		if err := deployed.applyPolicy(ctx, client); err != nil {
			return err
		}
	} else {
		validating.Name, mutating.Name = conf.Name, conf.Name
	}
	for i := range validating.Webhooks {
		w := &validating.Webhooks[i]
		conf.point(&w.ClientConfig, url)
		w.NamespaceSelector = conf.selector()
	}
	for i := range mutating.Webhooks {
		w := &mutating.Webhooks[i]
		conf.point(&w.ClientConfig, url)
		w.NamespaceSelector = conf.selector()
	}
	api := client.AdmissionregistrationV1()
	_, err = api.ValidatingWebhookConfigurations().Create(ctx, validating, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("register the validating webhook: %w", err)
	}
	_, err = api.MutatingWebhookConfigurations().Create(ctx, mutating, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("register the mutating webhook: %w", err)
	}
	return nil
}

// A deployment is what deploy/webhooks.yaml holds, in its order.
type deployment struct {
	policy     admissionregistrationv1.ValidatingAdmissionPolicy
	binding    admissionregistrationv1.ValidatingAdmissionPolicyBinding
	validating admissionregistrationv1.ValidatingWebhookConfiguration
	mutating   admissionregistrationv1.MutatingWebhookConfiguration
}

func (d *deployment) applyPolicy(ctx context.Context, client kubernetes.Interface) error {
	api := client.AdmissionregistrationV1()
	if _, err := api.ValidatingAdmissionPolicies().Create(ctx, &d.policy, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the admission policy: %w", err)
	}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(ctx, &d.binding, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("bind the admission policy: %w", err)
	}
	return nil
}

// load reads the configurations that are deployed.
func load() (*deployment, error) {
	data, err := os.ReadFile(filepath.Join(cluster.Root(), "deploy", "webhooks.yaml"))
	if err != nil {
		return nil, err
	}
	documents := splitDocuments(data)
	d := new(deployment)
	into := []any{&d.policy, &d.binding, &d.validating, &d.mutating}
	if len(documents) != len(into) {
		return nil, fmt.Errorf("deploy/webhooks.yaml has %d documents, want %d", len(documents), len(into))
	}
	for i, document := range documents {
		if err := yaml.UnmarshalStrict(document, into[i]); err != nil {
			return nil, fmt.Errorf("deploy/webhooks.yaml: %w", err)
		}
	}
	return d, nil
}

func (conf *Configurations) point(c *admissionregistrationv1.WebhookClientConfig, url string) {
	c.URL = new(url + *c.Service.Path)
	c.Service = nil
	c.CABundle = conf.CABundle
}

func (conf *Configurations) selector() *metav1.LabelSelector {
	if len(conf.Namespaces) == 0 {
		return &metav1.LabelSelector{}
	}
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: conf.Namespaces,
	}}}
}

// waitUntilAsked waits until the API server refuses, in a dry run, an object
// that no policy admits: it learns of new configurations after a moment.
func (conf *Configurations) waitUntilAsked(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace := "default"
	if len(conf.Namespaces) > 0 {
		namespace = conf.Namespaces[0]
	}
	entries := client.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "serviceentries"})
	last := errors.New("it was admitted")
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := entries.Namespace(namespace).Create(ctx, unsafeEntry(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			last = err
		}
		return apierrors.IsInvalid(err), nil
	})
	if err != nil {
		return fmt.Errorf("the API server does not ask sallyport: %w: %w", err, last)
	}
	return nil
}

func unsafeEntry() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1",
		"kind":       "ServiceEntry",
		"metadata":   map[string]any{"name": "unsafe"},
		"spec": map[string]any{
			"hosts":      []any{"unsafe.example.com"},
			"resolution": "STATIC",
			"ports":      []any{map[string]any{"number": int64(443), "name": "tls", "protocol": "TLS"}},
		},
	}}
}

func splitDocuments(data []byte) [][]byte {
	return bytes.Split(data, []byte("\n---\n"))
}
