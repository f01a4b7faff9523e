// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A policySource is where policies come from: files, or a cluster if there are none.
type policySource struct {
	files   []string
	cluster clusterFlags
}

// documents reads the policies and the labels of all namespaces, or of one of the
// cluster's if a name is given.
func (s *policySource) documents(ctx context.Context, stdin io.Reader, namespace string) (*policy.Documents, error) {
	if len(s.files) > 0 {
		documents, err := readPolicyDocuments(s.files, stdin)
		if err != nil {
			return nil, usageError(err)
		}
		return documents, nil
	}
	c, err := s.cluster.client()
	if err != nil {
		return nil, err
	}
	documents, err := clusterPolicies(ctx, c, namespace)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	return documents, nil
}

// completionTimeout is how long a shell waits for the cluster.
const completionTimeout = 2 * time.Second

// namespaces returns the names that a shell offers; none if there is no answer.
func (s *policySource) namespaces(ctx context.Context) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	documents, err := s.documents(ctx, strings.NewReader(""), "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range documents.Namespaces {
		names = append(names, n.GetName())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces has the shell complete the flag --namespace.
func completeNamespaces(cmd *cobra.Command, source func() *policySource) {
	err := cmd.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return source().namespaces(cmd.Context())
	})
	if err != nil {
		panic(err) // the flag does not exist
	}
}
