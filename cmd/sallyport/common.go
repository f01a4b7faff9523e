// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
)

// readConfig reads the file of --config; without one it is the default.
func readConfig(file string) (*config.Configuration, error) {
	if file == "" {
		return config.Default(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	c, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("--config %s: %w", file, err)
	}
	return c, nil
}

// commonFlags are those of all commands that judge or show policies.
type commonFlags struct {
	config    string
	policies  []string
	namespace string
	at        string
}

func (f *commonFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "Configuration `file`: facts about the mesh")
	flags.StringArrayVar(&f.policies, "policy", nil, "`path` of EgressPolicies, EgressExemptions and Namespaces, a file or folder (repeatable)")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "`namespace` of documents that name none")
	completeNamespaces(cmd, func() *policySource {
		s := &policySource{files: f.policies}
		if flags.Lookup("kubeconfig") != nil {
			s.cluster = clusterFlags{kubeconfig: flags.Lookup("kubeconfig").Value.String(), context: flags.Lookup("kube-context").Value.String()}
		}
		return s
	})
	flags.StringVar(&f.at, "at", "", "judge as at this `time`, such as 2027-01-01T00:00:00Z; now without it")
}

// meshFlags are those of the commands that look into the mesh around files.
type meshFlags struct {
	context  []string
	complete bool
}

func (f *meshFlags) add(cmd *cobra.Command) {
	addContext(cmd, &f.context)
	cmd.Flags().BoolVar(&f.complete, "complete", false, "the files are the whole mesh: what is not in them does not exist")
}

func addContext(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVar(paths, "context", nil, "`path` of objects that are only part of the mesh, a file or folder (repeatable)")
}

func (f *commonFlags) lintOptions(stdin io.Reader) (*lint.Options, error) {
	conf, err := readConfig(f.config)
	if err != nil {
		return nil, usageError(err)
	}
	policyFor, err := readPolicies(f.policies, stdin)
	if err != nil {
		return nil, usageError(err)
	}
	now, err := f.now()
	if err != nil {
		return nil, usageError(err)
	}
	suite, err := analysis.NewSuite(rules.All...)
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	return &lint.Options{Suite: suite, Config: conf, PolicyFor: policyFor, Namespace: f.namespace, Now: now}, nil
}

func (f *commonFlags) now() (time.Time, error) {
	if f.at == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return t, fmt.Errorf("--at %q: want a time such as 2027-01-01T00:00:00Z", f.at)
	}
	return t, nil
}

// What is where by default in a cluster.
const (
	defaultService        = "sallyport-system/sallyport"
	defaultSecret         = "sallyport-certs"
	defaultConfigurations = "sallyport"
)

// complete registers the values of a flag for shell completion.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist
	}
}
