// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// selectFlags choose rules by their names, or by patterns of [path.Match].
type selectFlags struct{ only, skip []string }

func (f *selectFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.only, "only", nil, "apply these `rules` only, such as serviceentry/wildcard-host or 'serviceentry/*'")
	flags.StringSliceVar(&f.skip, "skip", nil, "leave these `rules` out")
	names := slices.Concat(ruleGroups(), ruleNames())
	complete(cmd, "only", names...)
	complete(cmd, "skip", names...)
}

// suite returns the rules that are chosen.
func (f *selectFlags) suite() (*analysis.Suite, error) {
	for _, pattern := range slices.Concat(f.only, f.skip) {
		if err := checkPattern(pattern); err != nil {
			return nil, usageError(err)
		}
	}
	chosen := slices.DeleteFunc(slices.Clone(rules.All), func(r *analysis.Rule) bool {
		return len(f.only) > 0 && !matchesAny(f.only, r.Name) || matchesAny(f.skip, r.Name)
	})
	if len(chosen) == 0 {
		return nil, usageError(errors.New("--only and --skip leave no rule"))
	}
	suite, err := analysis.NewSuite(chosen...)
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	return suite, nil
}

func checkPattern(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q is no pattern of rules: %w", pattern, err)
	}
	if slices.ContainsFunc(ruleNames(), func(name string) bool { return matchesAny([]string{pattern}, name) }) {
		return nil
	}
	if slices.ContainsFunc(rules.Mutators, func(m *analysis.Mutator) bool { return m.Name == pattern }) {
		return fmt.Errorf("%q is no rule but a mutator; --no-mutate leaves out what mutators do", pattern)
	}
	return unknownRule(pattern)
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

func ruleNames() []string {
	var names []string
	for _, r := range rules.All {
		names = append(names, r.Name)
	}
	return names
}

// ruleGroups returns a pattern for each kind that rules are named by.
func ruleGroups() []string {
	var groups []string
	for _, name := range ruleNames() {
		if group := path.Dir(name) + "/*"; !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups
}
