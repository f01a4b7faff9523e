// SPDX-License-Identifier: Apache-2.0

// Package virtualservice holds the rules about VirtualServices.
package virtualservice

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// Paths that checks begin with: made once, since they are immutable.
var (
	specPath  = field.NewPath("spec")
	hostsPath = specPath.Child("hosts")
	httpPath  = specPath.Child("http")
	tlsPath   = specPath.Child("tls")
)

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
