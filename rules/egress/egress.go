// SPDX-License-Identifier: Apache-2.0

// Package egress holds the rules that are about several kinds of objects alike:
// how they are spelled, and who sees them.
package egress

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// Paths that checks begin with: made once, since they are immutable.
var (
	specPath  = field.NewPath("spec")
	hostsPath = specPath.Child("hosts")
)

// Rules are the rules of this package, in the order of the catalogue.
var Rules = []*analysis.Rule{
	unknownField,
	canonicalHost,
	exportScope,
}
