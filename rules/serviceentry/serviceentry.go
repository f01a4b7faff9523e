// SPDX-License-Identifier: Apache-2.0

// Package serviceentry holds the rules for ServiceEntries, with which a
// namespace adds hosts outside of the mesh to those that its workloads reach.
package serviceentry

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// Paths that checks begin with: made once, since they are immutable.
var (
	specPath      = field.NewPath("spec")
	hostsPath     = specPath.Child("hosts")
	addressesPath = specPath.Child("addresses")
	portsPath     = specPath.Child("ports")
	endpointsPath = specPath.Child("endpoints")
)

// Rules are the rules of this package, in the order of the catalogue.
var Rules = []*analysis.Rule{
	wildcardHost,
	publicSuffix,
	staticEndpoints,
	openProxy,
	broadCIDR,
	metadataAddress,
	localEndpoint,
	clusterName,
	hostOwner,
	endpointAlias,
	unresolvedHost,
	dynamicDNS,
	location,
	allowedHost,
	portRule,
	plaintext,
	portCollision,
	addressCollision,
	subjectAltNames,
	waypointRule,
}
