// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Look at policies",
	}
	cmd.AddCommand(newEffective())
	return cmd
}

type effectiveFlags struct {
	policies []string
	cluster  clusterFlags
	format   string
}

func newEffective() *cobra.Command {
	var f effectiveFlags
	cmd := &cobra.Command{
		Use:   "effective NAMESPACE",
		Short: "Show what holds in a namespace, and which policy says so",
		Long: `Show what all EgressPolicies and EgressExemptions together say for a namespace,
value by value, and which of them says so; "built-in" is what holds where none
does. They come from files, whose Namespace documents have the labels that
policies select by, or else from the cluster.`,
		Example: `  sallyport policy effective payments --policy policies/
  sallyport policy effective payments --kubeconfig ~/.kube/config`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("name one namespace, not %d", len(args))
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return f.source().namespaces(cmd.Context())
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			documents, err := f.source().documents(cmd.Context(), cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			values, err := documents.Explain(args[0])
			if err != nil {
				return usageError(err)
			}
			switch f.format {
			case "json":
				return writeIndented(cmd.OutOrStdout(), effectivePolicy{
					APIVersion: "cli.sallyport.dev/v1alpha1", Kind: "EffectivePolicy", Namespace: args[0], Values: values,
				})
			case "text":
				return writeValues(cmd.OutOrStdout(), values)
			default:
				return usageError(fmt.Errorf("--output %q: want text or json", f.format))
			}
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.policies, "policy", nil, "`path` of EgressPolicies, EgressExemptions and Namespaces, a file or folder (repeatable)")
	f.cluster.add(flags)
	flags.StringVarP(&f.format, "output", "o", "text", "`format`: text or json")
	complete(cmd, "output", "text", "json")
	return cmd
}

// An effectivePolicy is the output of "sallyport policy effective -o json".
type effectivePolicy struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Namespace  string         `json:"namespace"`
	Values     []policy.Value `json:"values"`
}

func writeValues(w io.Writer, values []policy.Value) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FIELD\tVALUE\tFROM")
	for _, v := range values {
		from := "built-in"
		if len(v.Sources) > 0 {
			from = strings.Join(v.Sources, ", ")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Field, v.Value, from)
	}
	return table.Flush()
}

func (f *effectiveFlags) source() *policySource {
	return &policySource{files: f.policies, cluster: f.cluster}
}
