// SPDX-License-Identifier: Apache-2.0

// Package virtualservice holds the rules about VirtualServices.
package virtualservice

import "github.com/sallyport-dev/sallyport/rules/analysis"

// Rules are all rules about VirtualServices, in the order of the catalogue.
var Rules = []*analysis.Rule{
	hostOwner,
	wildcardHost,
	externalDestination,
	externalMirror,
	headerLeak,
	authority,
	gatewayLoop,
	gatewayDestination,
	gatewayBypass,
	gatewayResolution,
	delegate,
	protocol,
	retries,
	timeout,
}
