// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
	"github.com/sallyport-dev/sallyport/webhook"
)

// clusterFlags say which cluster to read, as kubectl's do.
type clusterFlags struct{ kubeconfig, context string }

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file` of the cluster (default $KUBECONFIG, ~/.kube/config or the pod's service account)")
	flags.StringVar(&f.context, "kube-context", "", "`context` of the kubeconfig")
}

// config says how to reach the cluster.
func (f *clusterFlags) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.context}).ClientConfig()
	if err != nil {
		return nil, usageError(fmt.Errorf("find the cluster: %w; give --kubeconfig FILE", err))
	}
	return config, nil
}

// client returns a client for the cluster.
func (f *clusterFlags) client() (client.Client, error) {
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // pages follow each other; the API server has its own fairness
	c, err := webhook.NewClient(config)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	return c, nil
}

// pageSize is how many objects the API server is asked for at a time.
const pageSize = 500

// readCluster gives every object of the kinds that rules read to add, with a name
// in place of a file, and its text as YAML for the lines of findings.
func readCluster(ctx context.Context, c client.Client, add func(*manifest.Document), fail func(error)) error {
	for _, kind := range analysis.Kinds() {
		err := eachObject(ctx, c, kind, func(o *unstructured.Unstructured) error {
			doc, err := documentOf(kind, o)
			if err != nil {
				fail(err)
				return nil
			}
			add(doc)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Resource, err)
		}
	}
	return nil
}

// eachObject lists the objects of a kind page by page. There are none of a kind that
// the cluster does not have.
func eachObject(ctx context.Context, c client.Client, kind *analysis.Kind, do func(*unstructured.Unstructured) error) error {
	list := new(unstructured.UnstructuredList)
	list.SetGroupVersionKind(kind.WithVersion(kind.Versions[0]))
	list.SetKind(kind.Kind + "List")
	for {
		err := c.List(ctx, list, client.Limit(pageSize), client.Continue(list.GetContinue()))
		if meta.IsNoMatchError(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range list.Items {
			if err := do(&list.Items[i]); err != nil {
				return err
			}
		}
		if list.GetContinue() == "" {
			return nil
		}
	}
}

// documentOf makes a document of an object, without what the API server notes in it.
func documentOf(kind *analysis.Kind, o *unstructured.Unstructured) (*manifest.Document, error) {
	o.SetManagedFields(nil)
	o.SetAPIVersion(kind.WithVersion(kind.Versions[0]).GroupVersion().String())
	o.SetKind(kind.Kind)
	name := strings.Trim(o.GetNamespace()+"/"+kind.Resource+"/"+o.GetName(), "/")
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for doc, err := range manifest.Documents(name, bytes.NewReader(text)) {
		return doc, err
	}
	return nil, fmt.Errorf("%s: the object is empty", name)
}

// clusterPolicies reads the policies of the cluster, and the labels of all
// namespaces, or of one if a name is given.
func clusterPolicies(ctx context.Context, c client.Client, namespace string) (*policy.Documents, error) {
	var policies v1alpha1.EgressPolicyList
	var exemptions v1alpha1.EgressExemptionList
	var namespaces corev1.NamespaceList
	var named []client.ListOption
	if namespace != "" {
		named = append(named, client.MatchingFields{"metadata.name": namespace})
	}
	err := errors.Join(c.List(ctx, &policies), c.List(ctx, &exemptions), c.List(ctx, &namespaces, named...))
	if err != nil {
		return nil, fmt.Errorf("list policies and namespaces: %w", err)
	}
	if namespace != "" && len(namespaces.Items) == 0 {
		return nil, fmt.Errorf("there is no namespace %q", namespace)
	}
	return &policy.Documents{
		Policies: pointers(policies.Items), Exemptions: pointers(exemptions.Items), Namespaces: pointers(namespaces.Items),
	}, nil
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// clusterLinter returns a linter that knows what is in the cluster. own says that
// this is what it shall check.
func clusterLinter(cmd *cobra.Command, f *checkFlags, opts *lint.Options, own bool, fail func(error)) (*lint.Linter, error) {
	c, err := f.access.client()
	if err != nil {
		return nil, err
	}
	if len(f.common.policies) == 0 {
		documents, err := clusterPolicies(cmd.Context(), c, "")
		if err != nil {
			return nil, &exitError{code: exitCluster, err: err}
		}
		if opts.PolicyFor, err = documents.Compile(); err != nil {
			return nil, &exitError{code: exitCluster, err: err}
		}
	}
	linter := lint.New(*opts)
	one := cmd.Flags().Changed("namespace")
	err = readCluster(cmd.Context(), c, func(doc *manifest.Document) {
		if own && (!one || doc.Object.GetNamespace() == f.common.namespace) {
			linter.Add(doc)
		} else {
			linter.AddContext(doc)
		}
	}, fail)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	return linter, nil
}
