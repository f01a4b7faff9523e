// SPDX-License-Identifier: Apache-2.0

// Package authorizationpolicy holds the rules about AuthorizationPolicies, mostly
// of those that guard egress gateways and waypoints.
package authorizationpolicy

import "github.com/sallyport-dev/sallyport/rules/analysis"

// Rules are all rules about AuthorizationPolicies, in the order of the catalogue.
var Rules = []*analysis.Rule{
	hostPort,
	hostPattern,
	allowAll,
	identity,
	polarity,
	protocol,
	inert,
	source,
	dryRun,
	port,
	waypointRule,
}
