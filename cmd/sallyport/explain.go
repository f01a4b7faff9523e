// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
)

func newExplain() *cobra.Command {
	return &cobra.Command{
		Use:     "explain RULE...",
		Short:   "Explain rules and mutators",
		Long:    "Print what the catalogue says of rules and mutators: why they are there, how\nthey decide, what to write instead, and tested examples.",
		Example: "  sallyport explain serviceentry/wildcard-host\n  sallyport explain mutate/timeout",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name a rule or a mutator; 'sallyport rules' lists them")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return rules.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, name := range args {
				text, ok := rules.Explain(name)
				if !ok {
					return usageError(unknownRule(name))
				}
				if i > 0 {
					text = "\n" + text
				}
				if _, err := fmt.Fprint(cmd.OutOrStdout(), text); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// unknownRule says which rule was probably meant: the one that shares most of
// the words of its name.
func unknownRule(name string) error {
	words := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '/' || r == '-' || r == '_' })
	}
	best, most := "", 0
	for _, known := range rules.Names() {
		shared := 0
		for _, w := range words(name) {
			if strings.Contains(known, w) {
				shared++
			}
		}
		if shared > most {
			best, most = known, shared
		}
	}
	if best == "" {
		return fmt.Errorf("there is no rule %q; 'sallyport rules' lists them", name)
	}
	return fmt.Errorf("there is no rule %q, did you mean %q? 'sallyport rules' lists them", name, best)
}
