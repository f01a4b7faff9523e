// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A part is one EgressPolicy, checked and in the form in which parts combine:
// what it does not say is zero.
type part struct {
	name       string
	selector   labels.Selector
	priority   int32
	rules      map[string]RuleSetting
	otherRules Cap
	existing   ExistingViolations
	unlisted   Unlisted
	allowed    []AllowedHost
	denied     []string
	addresses  []netip.Prefix
	allowPorts []uint32
	denyPorts  []uint32
	limits     v1alpha1.Limits
	defaults   Defaults
	gateway    *Route
	waypoint   *Route
}

// compiler collects what is wrong with one object.
type compiler struct{ errs []error }

func (c *compiler) invalid(path string, value any, want string) {
	c.errs = append(c.errs, fmt.Errorf("%s: invalid value %q: %s", path, fmt.Sprint(value), want))
}

func compilePolicy(p *v1alpha1.EgressPolicy) (*part, error) {
	c := new(compiler)
	s := &p.Spec
	out := &part{
		name:       p.Name,
		priority:   s.Priority,
		rules:      c.rules(s.Rules),
		otherRules: c.otherRules(s.OtherRules),
		existing:   ExistingViolations(c.oneOf("spec.existingViolations", string(s.ExistingViolations), "Allow", "Deny")),
		unlisted:   Unlisted(c.oneOf("spec.hosts.unlisted", string(s.Hosts.Unlisted), "Allow", "Deny")),
		allowed:    c.allowedHosts(s.Hosts.Allowed),
		denied:     c.deniedHosts(s.Hosts.Denied),
		addresses:  c.addresses(s.Addresses.Allowed),
		allowPorts: c.ports("spec.ports.allowed", s.Ports.Allowed),
		denyPorts:  c.ports("spec.ports.denied", s.Ports.Denied),
		limits:     s.Limits,
		gateway:    c.route("spec.gateway", s.Gateway, gatewayName, "must be the name of a gateway in the configuration of the mesh"),
		waypoint:   c.route("spec.waypoint", s.Waypoint, waypointName, "must be the waypoint's namespace/name"),
	}
	if p.Name == "" {
		c.invalid("metadata.name", "", "must be set")
	}
	if s.NamespaceSelector == nil {
		c.invalid("spec.namespaceSelector", "", "must be set; {} selects every namespace")
	}
	selector, err := metav1.LabelSelectorAsSelector(s.NamespaceSelector)
	if err != nil {
		c.invalid("spec.namespaceSelector", "", err.Error())
	}
	out.selector = selector
	c.limits(&s.Limits)
	if s.Defaults != nil {
		out.defaults = c.defaults(s.Defaults)
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, fmt.Errorf("EgressPolicy %s: %w", p.Name, err)
	}
	return out, nil
}

func (c *compiler) oneOf(path, value string, allowed ...string) string {
	if value != "" && !slices.Contains(allowed, value) {
		c.invalid(path, value, fmt.Sprintf("must be one of %q", allowed))
	}
	return value
}

func (c *compiler) ruleName(path string, name v1alpha1.RuleName) {
	if !slices.Contains(v1alpha1.RuleNames, name) {
		c.invalid(path, name, "must be the name of a rule, as 'sallyport rules' lists them")
	}
}

const isDuplicate = "must not stand twice in the list"

func (c *compiler) rules(settings []v1alpha1.RuleSetting) map[string]RuleSetting {
	rules := make(map[string]RuleSetting, len(settings))
	for i, r := range settings {
		path := fmt.Sprintf("spec.rules[%d]", i)
		if _, ok := rules[string(r.Name)]; ok {
			c.invalid(path+".name", r.Name, isDuplicate)
		}
		c.ruleName(path+".name", r.Name)
		if r.Action == "" {
			c.invalid(path+".action", "", "must be set")
		}
		setting := RuleSetting{Action: Action(c.oneOf(path+".action", string(r.Action), "Deny", "Warn", "Audit", "Off"))}
		if r.EnforceFrom != nil {
			if setting.Action != Deny {
				c.invalid(path+".enforceFrom", r.EnforceFrom.Format(time.RFC3339), "may only be set with action Deny")
			}
			setting.EnforceFrom = r.EnforceFrom.UTC()
		}
		rules[string(r.Name)] = setting
	}
	return rules
}

func (c *compiler) otherRules(o *v1alpha1.OtherRules) Cap {
	if o == nil {
		return Cap{}
	}
	const path = "spec.otherRules.maxAction"
	if o.MaxAction == "" {
		c.invalid(path, "", "must be set")
	}
	limit := Cap{MaxAction: Action(c.oneOf(path, string(o.MaxAction), "Warn", "Audit"))}
	if o.EnforceFrom != nil {
		limit.EnforceFrom = new(o.EnforceFrom.UTC())
	}
	return limit
}

func (c *compiler) host(path, h string, seen map[string]bool) {
	if !host.Approves(h, h) {
		c.invalid(path, h, "must be a host name in lower case without a trailing dot, or '*.' and one")
	}
	if seen[h] {
		c.invalid(path, h, isDuplicate)
	}
	seen[h] = true
}

func (c *compiler) allowedHosts(hosts []v1alpha1.AllowedHost) []AllowedHost {
	var out []AllowedHost
	seen := map[string]bool{}
	for i, h := range hosts {
		path := fmt.Sprintf("spec.hosts.allowed[%d]", i)
		c.host(path+".host", h.Host, seen)
		out = append(out, AllowedHost{Host: h.Host, Ports: c.ports(path+".ports", h.Ports), Direct: h.Direct, Exclusive: h.Exclusive})
	}
	return out
}

func (c *compiler) deniedHosts(hosts []v1alpha1.DeniedHost) []string {
	var out []string
	seen := map[string]bool{}
	for i, h := range hosts {
		c.host(fmt.Sprintf("spec.hosts.denied[%d].host", i), h.Host, seen)
		out = append(out, h.Host)
	}
	return out
}

func (c *compiler) addresses(ranges []string) []netip.Prefix {
	var out []netip.Prefix
	for i, r := range ranges {
		prefix, err := netip.ParsePrefix(r)
		if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
			c.invalid(fmt.Sprintf("spec.addresses.allowed[%d]", i), r, "must be a range such as '203.0.113.0/24' or '2001:db8::/48', without bits after the prefix")
			continue
		}
		out = append(out, prefix)
	}
	return out
}

func (c *compiler) ports(path string, ports []int32) []uint32 {
	var out []uint32
	for i, p := range ports {
		if p < 1 || p > 65535 {
			c.invalid(fmt.Sprintf("%s[%d]", path, i), p, "must be between 1 and 65535")
			continue
		}
		out = append(out, uint32(p))
	}
	return out
}

var (
	gatewayName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	waypointName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

func (c *compiler) route(path string, r *v1alpha1.Route, form *regexp.Regexp, want string) *Route {
	if r == nil {
		return nil
	}
	if r.Name != "" && !form.MatchString(r.Name) {
		c.invalid(path+".name", r.Name, want)
	}
	if r.Mode == "" {
		c.invalid(path+".mode", "", "must be set")
	}
	return &Route{Mode: Mode(c.oneOf(path+".mode", string(r.Mode), "Off", "Inject", "Require")), Name: r.Name}
}

// byPrecedence orders parts by priority, the highest first, then by name.
func byPrecedence(a, b *part) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.name, b.name))
}
