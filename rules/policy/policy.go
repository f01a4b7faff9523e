// SPDX-License-Identifier: Apache-2.0

// Package policy holds the effective policy of a namespace, which rules and
// mutators read, and makes it of what users write (package v1alpha1).
//
// A namespace that no EgressPolicy selects has the built-in policy, [Default].
// All that select it combine to one, in which their order plays no part:
//
//   - What a policy leaves out, it says nothing about.
//   - Of the actions for a rule the strictest holds. A Deny that begins later is
//     stricter than a Warn, which holds until then in any case; of two, the
//     earlier begins.
//   - Of the caps on rules that none of them names (otherRules), the strictest
//     holds at each moment: the stricter action, and none once the first cap has
//     ended. That goes for denied and unlisted hosts and for required gateways
//     too. A rule that one of them names is not capped.
//   - Lists of allowed and of denied hosts, addresses and ports are joined.
//     Whatever is denied stays denied.
//   - Unlisted hosts, and violations that existed before, are denied if one
//     policy says so.
//   - Of each limit the strictest holds: the fewest attempts, the shortest time,
//     the most labels, the longest prefix. The built-in limit holds where no
//     policy has one, and no longer than that.
//   - Each default (timeout, retries, exportTo) is that of the policy with the
//     highest priority that has one, then with the first name. Without one
//     nothing is filled in: the built-in defaults are not mixed in. What is
//     filled in is kept within the limits.
//   - The gateway has the strictest mode that one of them asks for, and the name
//     that the first by priority and name of these policies gives it. The same
//     goes for the waypoint.
//
// So a policy can only tighten what another one says, except that it may allow
// more, cap or name rules that the other leaves to their severity and, with a
// higher priority, fill in other defaults. Only exemptions weaken what is named.
package policy

import (
	"net/netip"
	"time"
)

// An Action is what a finding leads to.
type Action string

// The actions, from the strictest to none.
const (
	Deny  Action = "Deny"  // refuse the request
	Warn  Action = "Warn"  // admit it with a warning
	Audit Action = "Audit" // admit it and record the finding
	Off   Action = "Off"   // say nothing
)

// ExistingViolations is what becomes of a finding that an update leaves as it
// was.
type ExistingViolations string

// What may become of findings that were there before.
const (
	AllowExisting ExistingViolations = "Allow" // a finding that would deny warns
	DenyExisting  ExistingViolations = "Deny"
)

// Unlisted is what becomes of a host that is on no list.
type Unlisted string

// What may become of hosts on no list.
const (
	AllowUnlisted Unlisted = "Allow"
	DenyUnlisted  Unlisted = "Deny"
)

// A Mode says how far a namespace's traffic is led through a gateway or a
// waypoint.
type Mode string

// The modes, from the loosest to the strictest.
const (
	ModeOff     Mode = "Off"
	ModeInject  Mode = "Inject"
	ModeRequire Mode = "Require"
)

// A Policy is the effective policy of a namespace: what all EgressPolicies that
// select it say together. It is immutable once made and safe for concurrent
// use. Hosts are in normal form (lower case, no trailing dot).
type Policy struct {
	// Sources are the names of the policies that it was made of, sorted. The
	// built-in default has none.
	Sources []string

	Rules map[string]RuleSetting
	// OtherRules caps the actions of rules that are not in Rules.
	OtherRules         Cap
	ExistingViolations ExistingViolations
	Unlisted           Unlisted
	AllowedHosts       []AllowedHost
	DeniedHosts        []string
	ReservedHosts      []ReservedHost
	AllowedAddresses   []netip.Prefix
	AllowedPorts       []uint32
	DeniedPorts        []uint32
	Limits             Limits
	Defaults           Defaults
	Gateway            Route
	Waypoint           Route
	Exemptions         []Exemption
}

// A RuleSetting replaces the action that follows from a rule's severity.
type RuleSetting struct {
	Action Action
	// EnforceFrom is when Deny begins; until then it warns. Zero is always.
	EnforceFrom time.Time
}

// A Cap bounds the action that follows from a finding's own severity. The zero value
// bounds nothing.
type Cap struct {
	// MaxAction is the strictest action that is left: Warn or Audit.
	MaxAction Action
	// EnforceFrom is when the cap ends; nil is never.
	EnforceFrom *time.Time
}

// apply returns what the cap leaves of an action at the time now, and when a Deny
// that it takes away will begin.
func (c Cap) apply(action Action, now time.Time) (capped Action, from time.Time) {
	ended := c.EnforceFrom != nil && !now.Before(*c.EnforceFrom)
	if c.MaxAction == "" || ended || strictness[action] <= strictness[c.MaxAction] {
		return action, time.Time{}
	}
	if action == Deny && c.EnforceFrom != nil {
		from = *c.EnforceFrom
	}
	return c.MaxAction, from
}

// An AllowedHost is a host that the policy approves.
type AllowedHost struct {
	// Host is a name, or "*." and a domain: then that wildcard and all that
	// lies below it.
	Host string
	// Ports limits the approval; empty is every port.
	Ports []uint32
	// Direct hosts may bypass the egress gateway.
	Direct bool
	// Exclusive hosts may be declared only where the policy applies.
	Exclusive bool
}

// A ReservedHost is one that a policy for other namespaces calls exclusive. It is
// free here only if a policy that applies here calls it exclusive too.
type ReservedHost struct {
	Host   string
	Policy string
}

// Limits are the thresholds of rules.
type Limits struct {
	MinWildcardLabels int           // labels after "*." in an allowed wildcard
	MaxRetryAttempts  int           // retries of one request
	MaxTimeout        time.Duration // timeout of a route to an external host
	MaxPrefixIPv4     int           // shortest prefix length of an IPv4 range
	MaxPrefixIPv6     int           // shortest prefix length of an IPv6 range
}

// Defaults are what mutators fill in. What is nil is not filled in.
type Defaults struct {
	Timeout  *time.Duration
	Retries  *Retries
	ExportTo []string
}

// Retries are the retries that mutate/retries fills in.
type Retries struct {
	Attempts      int32
	RetryOn       string
	PerTryTimeout *time.Duration
}

// A Route is a gateway or waypoint and how far traffic is led through it.
type Route struct {
	Mode Mode
	Name string
}

// Default returns the policy of a namespace that no EgressPolicy selects:
// every rule at its own severity, timeout and retries filled in, no gateway.
// The result is shared and must not be changed.
func Default() *Policy { return builtin }

var builtin = &Policy{
	ExistingViolations: AllowExisting,
	Unlisted:           AllowUnlisted,
	Limits: Limits{
		MinWildcardLabels: 2,
		MaxRetryAttempts:  5,
		MaxTimeout:        300 * time.Second,
		MaxPrefixIPv4:     16,
		MaxPrefixIPv6:     48,
	},
	Defaults: Defaults{
		Timeout: new(15 * time.Second),
		Retries: &Retries{
			Attempts: 2,
			RetryOn:  "connect-failure,refused-stream,reset-before-request",
		},
	},
	Gateway:  Route{Mode: ModeOff, Name: "default"},
	Waypoint: Route{Mode: ModeOff, Name: "istio-egress/waypoint"},
}

// Action returns what a finding of the rule leads to at the time now. Where the
// policy does not name the rule it is fallback, which follows from the
// finding's severity, or what OtherRules leaves of it. A Deny that has not begun
// is a Warn, or what OtherRules leaves, and from tells when it will begin.
func (p *Policy) Action(rule string, fallback Action, now time.Time) (action Action, from time.Time) {
	setting, ok := p.Rules[rule]
	if !ok {
		return p.OtherRules.apply(fallback, now)
	}
	if setting.Action == Deny && now.Before(setting.EnforceFrom) {
		return Warn, setting.EnforceFrom
	}
	return setting.Action, time.Time{}
}
