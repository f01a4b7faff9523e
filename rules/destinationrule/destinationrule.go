// SPDX-License-Identifier: Apache-2.0

// Package destinationrule holds the rules about DestinationRules.
package destinationrule

import "github.com/sallyport-dev/sallyport/rules/analysis"

// Rules are all rules about DestinationRules, in the order of the catalogue.
var Rules = []*analysis.Rule{
	gatewayHost,
}
