// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

func newRules() *cobra.Command {
	var f commonFlags
	var format string
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "List rules and mutators",
		Long: `List all rules, with the action that their findings have in a namespace under
the given policies, and all mutators.`,
		Example: "  sallyport rules\n  sallyport rules --policy standard.yaml -n payments",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := f.lintOptions(cmd.InOrStdin())
			if err != nil {
				return err
			}
			list := listRules(opts)
			switch format {
			case "json":
				return writeIndented(cmd.OutOrStdout(), list)
			case "text":
				return writeRules(cmd.OutOrStdout(), list)
			default:
				return usageError(fmt.Errorf("--output %q: want text or json", format))
			}
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "`format`: text or json")
	complete(cmd, "output", "text", "json")
	return cmd
}

// A ruleList is the output of "sallyport rules -o json".
type ruleList struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Rules      []listedRule    `json:"rules"`
	Mutators   []listedMutator `json:"mutators"`
}

type listedRule struct {
	Name     string        `json:"name"`
	Severity string        `json:"severity"`
	Action   policy.Action `json:"action"`
	// EnforceFrom is when a rule that warns or audits now will deny.
	EnforceFrom *time.Time `json:"enforceFrom,omitempty"`
	Kinds       []string   `json:"kinds"`
	Title       string     `json:"title"`
}

type listedMutator struct {
	Name string `json:"name"`
	// Kind is the first of Kinds.
	Kind  string   `json:"kind"`
	Kinds []string `json:"kinds"`
	Title string   `json:"title"`
}

func listRules(opts *lint.Options) *ruleList {
	list := &ruleList{APIVersion: "cli.sallyport.dev/v1alpha1", Kind: "RuleList"}
	pol := opts.PolicyFor(opts.Namespace)
	for _, r := range rules.All {
		action, from := analysis.ActionOf(r, pol, opts.Now)
		item := listedRule{Name: r.Name, Severity: r.Severity.String(), Action: action, Title: r.Title()}
		if !from.IsZero() {
			item.EnforceFrom = &from
		}
		for _, k := range r.Kinds() {
			item.Kinds = append(item.Kinds, k.Kind)
		}
		list.Rules = append(list.Rules, item)
	}
	for _, m := range rules.Mutators {
		title, _, _ := strings.Cut(m.Doc, "\n")
		item := listedMutator{Name: m.Name, Title: title}
		for _, k := range m.Kinds() {
			item.Kinds = append(item.Kinds, k.Kind)
		}
		item.Kind = item.Kinds[0]
		list.Mutators = append(list.Mutators, item)
	}
	return list
}

func writeRules(w io.Writer, list *ruleList) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RULE\tSEVERITY\tACTION\tABOUT")
	for _, r := range list.Rules {
		action := string(r.Action)
		if r.EnforceFrom != nil {
			action += ", Deny from " + r.EnforceFrom.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.Name, r.Severity, action, r.Title)
	}
	fmt.Fprintln(table, "\nMUTATOR\tKINDS\t\tABOUT")
	for _, m := range list.Mutators {
		fmt.Fprintf(table, "%s\t%s\t\t%s\n", m.Name, strings.Join(m.Kinds, ", "), m.Title)
	}
	return table.Flush()
}

func writeIndented(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
