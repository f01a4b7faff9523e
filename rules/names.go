// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strings"
)

//go:generate go test -run ^TestNames$ -update .

// namesFile is where the types of policies have the names of rules and kinds, so
// that the API server knows them.
const namesFile = "policy/v1alpha1/zz_generated.names.go"

// apiNames returns the content of that file.
func apiNames() string {
	var names, kinds []string
	for _, r := range All {
		names = append(names, r.Name)
		for _, k := range r.Kinds() {
			kinds = append(kinds, k.Kind)
		}
	}
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	var b strings.Builder
	b.WriteString(`// Code generated from the list of rules. DO NOT EDIT.

package v1alpha1

// RuleName is the name of a rule.
`)
	fmt.Fprintf(&b, "// +kubebuilder:validation:Enum=%s\ntype RuleName string\n\n", strings.Join(names, ";"))
	fmt.Fprintf(&b, "// KindName is a kind of objects that rules check.\n// +kubebuilder:validation:Enum=%s\ntype KindName string\n\n", strings.Join(kinds, ";"))
	b.WriteString("// RuleNames are all names of rules.\nvar RuleNames = []RuleName{\n")
	for _, n := range names {
		fmt.Fprintf(&b, "\t%q,\n", n)
	}
	b.WriteString("}\n\n// KindNames are all kinds that rules check.\nvar KindNames = []KindName{\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "\t%q,\n", k)
	}
	b.WriteString("}\n")
	return b.String()
}
