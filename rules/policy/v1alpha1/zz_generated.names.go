// Code generated from the list of rules. DO NOT EDIT.

package v1alpha1

// RuleName is the name of a rule.
// +kubebuilder:validation:Enum=egress/unknown-field;egress/canonical-host;egress/export-scope;serviceentry/wildcard-host;serviceentry/public-suffix;serviceentry/static-endpoints;serviceentry/open-proxy;serviceentry/broad-cidr;serviceentry/metadata-address;serviceentry/local-endpoint;serviceentry/cluster-name;serviceentry/host-owner;serviceentry/endpoint-alias;serviceentry/unresolved-host;serviceentry/dynamic-dns;serviceentry/location;serviceentry/allowed-host;serviceentry/port;serviceentry/plaintext;serviceentry/port-collision;serviceentry/address-collision;serviceentry/subject-alt-names;serviceentry/waypoint;virtualservice/host-owner;virtualservice/wildcard-host;virtualservice/external-destination;virtualservice/external-mirror;virtualservice/header-leak;virtualservice/authority;virtualservice/gateway-loop;virtualservice/gateway-destination;virtualservice/gateway-bypass;virtualservice/gateway-resolution;virtualservice/delegate;virtualservice/protocol;virtualservice/retries;virtualservice/timeout;destinationrule/gateway-host;authorizationpolicy/host-port;authorizationpolicy/host-pattern;authorizationpolicy/allow-all;authorizationpolicy/identity;authorizationpolicy/polarity;authorizationpolicy/protocol;authorizationpolicy/inert;authorizationpolicy/source;authorizationpolicy/dry-run;authorizationpolicy/port;authorizationpolicy/waypoint
type RuleName string

// KindName is a kind of objects that rules check.
// +kubebuilder:validation:Enum=AuthorizationPolicy;DestinationRule;Gateway;ServiceEntry;Sidecar;VirtualService
type KindName string

// RuleNames are all names of rules.
var RuleNames = []RuleName{
	"egress/unknown-field",
	"egress/canonical-host",
	"egress/export-scope",
	"serviceentry/wildcard-host",
	"serviceentry/public-suffix",
	"serviceentry/static-endpoints",
	"serviceentry/open-proxy",
	"serviceentry/broad-cidr",
	"serviceentry/metadata-address",
	"serviceentry/local-endpoint",
	"serviceentry/cluster-name",
	"serviceentry/host-owner",
	"serviceentry/endpoint-alias",
	"serviceentry/unresolved-host",
	"serviceentry/dynamic-dns",
	"serviceentry/location",
	"serviceentry/allowed-host",
	"serviceentry/port",
	"serviceentry/plaintext",
	"serviceentry/port-collision",
	"serviceentry/address-collision",
	"serviceentry/subject-alt-names",
	"serviceentry/waypoint",
	"virtualservice/host-owner",
	"virtualservice/wildcard-host",
	"virtualservice/external-destination",
	"virtualservice/external-mirror",
	"virtualservice/header-leak",
	"virtualservice/authority",
	"virtualservice/gateway-loop",
	"virtualservice/gateway-destination",
	"virtualservice/gateway-bypass",
	"virtualservice/gateway-resolution",
	"virtualservice/delegate",
	"virtualservice/protocol",
	"virtualservice/retries",
	"virtualservice/timeout",
	"destinationrule/gateway-host",
	"authorizationpolicy/host-port",
	"authorizationpolicy/host-pattern",
	"authorizationpolicy/allow-all",
	"authorizationpolicy/identity",
	"authorizationpolicy/polarity",
	"authorizationpolicy/protocol",
	"authorizationpolicy/inert",
	"authorizationpolicy/source",
	"authorizationpolicy/dry-run",
	"authorizationpolicy/port",
	"authorizationpolicy/waypoint",
}

// KindNames are all kinds that rules check.
var KindNames = []KindName{
	"AuthorizationPolicy",
	"DestinationRule",
	"Gateway",
	"ServiceEntry",
	"Sidecar",
	"VirtualService",
}
