// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the types in this package.
var GroupVersion = schema.GroupVersion{Group: "policy.sallyport.dev", Version: "v1alpha1"}

// AddToScheme makes the types known to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &EgressPolicy{}, &EgressPolicyList{}, &EgressExemption{}, &EgressExemptionList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}

// Action is what a finding leads to.
// +kubebuilder:validation:Enum=Deny;Warn;Audit;Off
type Action string

// MaxAction is what a finding may lead to at most.
// +kubebuilder:validation:Enum=Warn;Audit
type MaxAction string

// Mode says how far traffic is led through a gateway or a waypoint.
// +kubebuilder:validation:Enum=Off;Inject;Require
type Mode string

// Verdict is what becomes of something that no list decides.
// +kubebuilder:validation:Enum=Allow;Deny
type Verdict string

// EgressPolicy is a part of the standard: what holds in the namespaces that it
// selects. Several policies on one namespace combine without regard to order,
// to the strictest of what they say.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=egp
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Priority,type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name=Unlisted,type=string,JSONPath=`.spec.hosts.unlisted`
// +kubebuilder:printcolumn:name=Gateway,type=string,JSONPath=`.spec.gateway.mode`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Programmed,type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name=Namespaces,type=integer,JSONPath=`.status.matchedNamespaces`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type EgressPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what the policy says. What it leaves out it says nothing about.
	// +required
	Spec EgressPolicySpec `json:"spec"`
	// status is what the servers made of it.
	// +optional
	Status EgressPolicyStatus `json:"status,omitzero"`
}

// The types of conditions.
const (
	// ConditionAccepted is true if the object is valid, and false, with what is
	// wrong, if it is not: then the last valid generation remains in force.
	ConditionAccepted = "Accepted"
	// ConditionProgrammed is true if a server judges by the observed
	// generation.
	ConditionProgrammed = "Programmed"
	// ConditionConflicted is true if another policy has the same priority and
	// says something else where there can be only one value.
	ConditionConflicted = "Conflicted"
)

// EgressPolicyStatus is what the servers made of a policy.
type EgressPolicyStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// matchedNamespaces is how many namespaces the policy selects.
	// +optional
	MatchedNamespaces int32 `json:"matchedNamespaces,omitempty"`
	// conditions are Accepted, Programmed and Conflicted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EgressPolicySpec is what a policy says.
type EgressPolicySpec struct {
	// namespaceSelector selects namespaces by their labels; {} is every
	// namespace.
	// +required
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector"`
	// priority decides between policies where there can be only one value
	// (defaults, gateway, waypoint): the higher wins, then the name that comes
	// first in the alphabet.
	// +optional
	Priority int32 `json:"priority,omitempty"`
	// existingViolations is what becomes of a finding that an update leaves as
	// it was: Allow turns its denial into a warning.
	// +optional
	ExistingViolations Verdict `json:"existingViolations,omitempty"`
	// rules changes what findings of rules lead to.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Rules []RuleSetting `json:"rules,omitempty"`
	// otherRules caps what findings lead to of rules that no policy on the
	// namespace names in rules, also where hosts or the mode of a gateway or
	// waypoint ask for a denial. Several caps combine to the strictest at each
	// moment; policies without one leave that to the others.
	// +optional
	OtherRules *OtherRules `json:"otherRules,omitempty"`
	// hosts lists the hosts that may be opened.
	// +optional
	Hosts Hosts `json:"hosts,omitzero"`
	// addresses lists the addresses that may be opened.
	// +optional
	Addresses Addresses `json:"addresses,omitzero"`
	// ports lists the ports that may be opened.
	// +optional
	Ports Ports `json:"ports,omitzero"`
	// limits are the thresholds of rules.
	// +optional
	Limits Limits `json:"limits,omitzero"`
	// defaults are what is filled in where the user said nothing; what is
	// absent here is not filled in.
	// +optional
	Defaults *Defaults `json:"defaults,omitempty"`
	// gateway leads traffic through an egress gateway.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.name) || self.name == '' || self.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="name must be that of a gateway in the configuration of the mesh"
	Gateway *Route `json:"gateway,omitempty"`
	// waypoint leads traffic of ambient namespaces through a waypoint.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.name) || self.name == '' || self.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="name must be the waypoint's namespace/name"
	Waypoint *Route `json:"waypoint,omitempty"`
}

// RuleSetting changes what findings of one rule lead to.
//
// +kubebuilder:validation:XValidation:rule="!has(self.enforceFrom) || self.action == 'Deny'",message="enforceFrom may only be set with action Deny"
type RuleSetting struct {
	// name is the rule's, such as serviceentry/wildcard-host.
	// +required
	Name RuleName `json:"name"`
	// action is what its findings lead to.
	// +required
	Action Action `json:"action"`
	// enforceFrom is when Deny begins. Until then findings warn, and say so.
	// +optional
	EnforceFrom *metav1.Time `json:"enforceFrom,omitempty"`
}

// OtherRules caps what follows from a finding's own severity. It makes nothing
// stricter, and does not switch on what is off.
type OtherRules struct {
	// maxAction is what findings lead to at most. Audit neither denies nor
	// warns.
	// +required
	MaxAction MaxAction `json:"maxAction"`
	// enforceFrom is when the cap ends: from then on each finding leads to what
	// its own severity says. Until then findings that will deny say so. Without
	// it the cap does not end.
	// +optional
	EnforceFrom *metav1.Time `json:"enforceFrom,omitempty"`
}

// Hosts are lists of host names.
type Hosts struct {
	// unlisted is what becomes of a host that is not allowed below.
	// +optional
	Unlisted Verdict `json:"unlisted,omitempty"`
	// allowed hosts are approved.
	// +optional
	// +listType=map
	// +listMapKey=host
	// +kubebuilder:validation:MaxItems=4096
	Allowed []AllowedHost `json:"allowed,omitempty"`
	// denied hosts are refused, whatever is allowed.
	// +optional
	// +listType=map
	// +listMapKey=host
	// +kubebuilder:validation:MaxItems=4096
	Denied []DeniedHost `json:"denied,omitempty"`
}

// AllowedHost is a host that may be opened.
type AllowedHost struct {
	// host is a name, or "*." and a domain: that wildcard and what lies below.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([*][.])?[a-z0-9_-]+([.][a-z0-9_-]+)*$')",message="must be a host name in lower case without a trailing dot, or '*.' and one; internationalized names begin with xn--"
	Host string `json:"host"`
	// ports limits the approval; empty is every port.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []int32 `json:"ports,omitempty"`
	// direct says that the host may be reached past the egress gateway.
	// +optional
	Direct bool `json:"direct,omitempty"`
	// exclusive says that only the namespaces which this policy selects may
	// declare the host.
	// +optional
	Exclusive bool `json:"exclusive,omitempty"`
}

// DeniedHost is a host that may not be opened.
type DeniedHost struct {
	// host is a name, or "*." and a domain: all that lies below.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^([*][.])?[a-z0-9_-]+([.][a-z0-9_-]+)*$')",message="must be a host name in lower case without a trailing dot, or '*.' and one; internationalized names begin with xn--"
	Host string `json:"host"`
}

// Addresses is a list of address ranges.
type Addresses struct {
	// allowed are ranges in CIDR notation.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=49
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) && cidr(self) == cidr(self).masked()",message="must be a range such as '203.0.113.0/24' or '2001:db8::/48', without bits after the prefix"
	Allowed []string `json:"allowed,omitempty"`
}

// Ports are lists of port numbers.
type Ports struct {
	// allowed ports may be opened; empty is all that are not denied.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Allowed []int32 `json:"allowed,omitempty"`
	// denied ports may not be opened.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Denied []int32 `json:"denied,omitempty"`
}

// Limits are the thresholds of rules. Of several policies the strictest holds.
type Limits struct {
	// minWildcardLabels is how many labels must follow "*." in a wildcard.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	MinWildcardLabels *int32 `json:"minWildcardLabels,omitempty"`
	// maxRetryAttempts is how often a request may be retried.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxRetryAttempts *int32 `json:"maxRetryAttempts,omitempty"`
	// maxTimeout is how long a route to an external host may wait.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,9}(\.[0-9]{1,3})?(h|m|s)|[0-9]{1,9}ms){1,4}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms') && duration(self) <= duration('24h')",message="must be at least one millisecond and no more than a day"
	MaxTimeout *metav1.Duration `json:"maxTimeout,omitempty"`
	// maxPrefixIPv4 is the shortest prefix length of an IPv4 range.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	MaxPrefixIPv4 *int32 `json:"maxPrefixIPv4,omitempty"`
	// maxPrefixIPv6 is the shortest prefix length of an IPv6 range.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	MaxPrefixIPv6 *int32 `json:"maxPrefixIPv6,omitempty"`
}

// Defaults are what mutators fill in.
type Defaults struct {
	// timeout of HTTP routes to external hosts.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,9}(\.[0-9]{1,3})?(h|m|s)|[0-9]{1,9}ms){1,4}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms') && duration(self) <= duration('24h')",message="must be at least one millisecond and no more than a day"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// retries of HTTP routes to external hosts.
	// +optional
	Retries *Retries `json:"retries,omitempty"`
	// exportTo of objects that have none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="!('*' in self) || size(self) == 1",message="'*' must stand alone, since it is every namespace"
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self == '.' || self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="must be '.', '*' or a namespace"
	ExportTo []string `json:"exportTo,omitempty"`
}

// Retries of an HTTP route, as in Istio's HTTPRetry.
type Retries struct {
	// attempts is how often a request is retried.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Attempts int32 `json:"attempts"`
	// retryOn are the conditions, separated by commas.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == '' || self.split(',').all(c, c in ['5xx', 'gateway-error', 'reset', 'reset-before-request', 'connect-failure', 'retriable-4xx', 'refused-stream', 'retriable-status-codes', 'retriable-headers', 'envoy-ratelimited', 'http3-post-connect-failure', 'cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'] || c.matches('^(4(0[0-9]|1[0-8]|2[1-689]|31|51)|50[0-8]|51[01])$'))",message="must be conditions of Istio's retryOn, separated by commas without blanks"
	RetryOn string `json:"retryOn,omitempty"`
	// perTryTimeout is how long one try may take.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,9}(\.[0-9]{1,3})?(h|m|s)|[0-9]{1,9}ms){1,4}$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms') && duration(self) <= duration('24h')",message="must be at least one millisecond and no more than a day"
	PerTryTimeout *metav1.Duration `json:"perTryTimeout,omitempty"`
}

// Route is a gateway or waypoint and how far traffic is led through it.
type Route struct {
	// mode says how far: Inject fills the way in where it is missing, Require
	// also refuses what goes another way.
	// +required
	Mode Mode `json:"mode"`
	// name of the gateway in the configuration of the mesh, or namespace/name
	// of the waypoint.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// EgressPolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type EgressPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressPolicy `json:"items"`
}

// EgressExemption switches rules off for objects of one namespace, for a while.
// What it covers goes on being reported, with the exemption's name.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=egx
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Namespace,type=string,JSONPath=`.spec.namespace`
// +kubebuilder:printcolumn:name=Kind,type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name=Expires,type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name=Ticket,type=string,JSONPath=`.spec.ticket`
type EgressExemption struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`
	// spec is what is exempted. To extend an exemption, make a new one.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="must not be changed; make a new EgressExemption, which is a new approval"
	Spec EgressExemptionSpec `json:"spec"`
	// status is what the servers made of it.
	// +optional
	Status EgressExemptionStatus `json:"status,omitzero"`
}

// EgressExemptionStatus is what the servers made of an exemption.
type EgressExemptionStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Accepted and Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EgressExemptionSpec is what is exempted.
type EgressExemptionSpec struct {
	// rules are the names of the rules that are switched off.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Rules []RuleName `json:"rules"`
	// namespace of the objects.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="must be the name of a namespace"
	Namespace string `json:"namespace"`
	// kind of the objects.
	// +required
	Kind KindName `json:"kind"`
	// name of the object; empty is every object of the kind.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// hosts narrows the exemption to findings about these hosts; a wildcard
	// stands for itself and what lies below it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[*]?[a-z0-9_.-]*[a-z0-9_-]$')",message="must be in lower case without a trailing dot"
	Hosts []string `json:"hosts,omitempty"`
	// expiresAt is when the exemption ends.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt"`
	// reason says why, for whoever reads it later.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
	// ticket is where the exemption was asked for.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Ticket string `json:"ticket,omitempty"`
	// approvedBy says who allowed it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	ApprovedBy []string `json:"approvedBy,omitempty"`
}

// EgressExemptionList is a list of exemptions.
//
// +kubebuilder:object:root=true
type EgressExemptionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EgressExemption `json:"items"`
}
