// SPDX-License-Identifier: Apache-2.0

// Package rules lists what Sallyport checks and changes. The lists are its whole
// content: each rule and mutator lives in the package of its kind.
package rules

import (
	"slices"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/authorizationpolicy"
	"github.com/sallyport-dev/sallyport/rules/destinationrule"
	"github.com/sallyport-dev/sallyport/rules/egress"
	"github.com/sallyport-dev/sallyport/rules/mutate"
	"github.com/sallyport-dev/sallyport/rules/serviceentry"
	"github.com/sallyport-dev/sallyport/rules/virtualservice"
)

// All are all rules, in the order of the catalogue and of output.
var All = slices.Concat(
	egress.Rules,
	serviceentry.Rules,
	virtualservice.Rules,
	destinationrule.Rules,
	authorizationpolicy.Rules,
)

// Mutators are all mutators, in the order in which they are applied.
var Mutators = mutate.Mutators

// Reads returns the kinds of objects that rules and mutators look up in the
// mesh: what a server must watch.
func Reads() []*analysis.Kind {
	var kinds []*analysis.Kind
	for _, k := range analysis.Kinds() {
		reads := func(declared []*analysis.Kind) bool { return slices.Contains(declared, k) }
		if slices.ContainsFunc(All, func(r *analysis.Rule) bool { return reads(r.Reads) }) ||
			slices.ContainsFunc(Mutators, func(m *analysis.Mutator) bool { return reads(m.Reads) }) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}
