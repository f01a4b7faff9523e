// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// An Input is all that a verdict depends on.
type Input struct {
	// Object is checked, or changed by mutators. Its namespace must be set.
	Object Object
	// Old is the object as it was before an update; nil otherwise. // optional
	Old Object
	// Policy is the effective policy of the object's namespace; nil is the
	// built-in default. // optional
	Policy *policy.Policy
	// Config holds the facts about the mesh; nil is the default. // optional
	Config *config.Configuration
	// Mesh knows the other objects; nil knows none. // optional
	Mesh Mesh
	// Unknown is what somebody wrote that Object, as the API server keeps it,
	// does not have. Only a file can tell. // optional
	Unknown []UnknownField
	// Now decides what has begun and what has expired.
	Now time.Time
	// Tell is given what mutators say about objects that they leave alone, although
	// users might expect otherwise. // optional
	Tell func(m *Mutator, note string)
	// Await is called when the outcome is what it is because the mesh does not know
	// an object that somebody may have created a moment ago. // optional
	Await func()
}

// An UnknownField is a field or a value of an object, as somebody wrote it, that
// the schema of its kind does not have.
type UnknownField struct {
	// Path of the field.
	Path *field.Path
	// Suggestion is the field that was probably meant, or empty.
	Suggestion string
	// Value is that of a field that there is, but that can only have one of
	// those in Supported. Both are empty for a field that there is not.
	Value     string
	Supported []string
}

// String says what is unknown.
func (u UnknownField) String() string {
	switch {
	case len(u.Supported) > 0:
		return fmt.Sprintf("%s: unknown value %q, must be one of %s", u.Path, u.Value, strings.Join(u.Supported, ", "))
	case u.Suggestion != "":
		return fmt.Sprintf("unknown field %q, did you mean %q?", u.Path, u.Suggestion)
	default:
		return fmt.Sprintf("unknown field %q", u.Path)
	}
}

func (in *Input) withDefaults() Input {
	out := *in
	if out.Policy == nil {
		out.Policy = policy.Default()
	}
	if out.Config == nil {
		out.Config = config.Default()
	}
	if out.Mesh == nil {
		out.Mesh = unknownMesh{}
	}
	if out.Tell == nil {
		out.Tell = func(*Mutator, string) {}
	}
	if out.Await == nil {
		out.Await = func() {}
	}
	return out
}

// A Mesh answers what rules ask about the other objects. Every answer is an
// index look-up whose cost does not grow with the mesh. Implementations are
// safe for concurrent use; what they return must not be changed.
//
// Hosts are in normal form: lower case, no trailing dot, and short names
// completed.
type Mesh interface {
	// ServiceEntry returns the ServiceEntry that provides host, an exact name,
	// to workloads in namespace under Istio's rules of visibility and
	// precedence, or nil if none is known.
	ServiceEntry(namespace, host string) *networkingv1.ServiceEntry
	// VirtualService returns the VirtualService whose routes the sidecars of
	// namespace apply to host, an exact name or a wildcard, or nil.
	VirtualService(namespace, host string) *networkingv1.VirtualService
	// DestinationRule returns the DestinationRule that the proxies of namespace
	// apply to host, which an object of the namespace provider declares, or nil.
	// Istio looks in the client's namespace, the provider's and the root
	// namespace, in this order.
	DestinationRule(namespace, host, provider string) *networkingv1.DestinationRule
	// AuthorizationPolicies returns those of a namespace, by name.
	AuthorizationPolicies(namespace string) []*securityv1.AuthorizationPolicy
	// Gateways returns the Gateways, of any namespace, that select pods with
	// the labels, by namespace and name.
	Gateways(labels map[string]string) []*networkingv1.Gateway
	// Object returns the object of the kind and name, or nil. Namespaces are in
	// the namespace "".
	Object(kind *Kind, namespace, name string) Object
	// HostClaims returns objects of the kind, ServiceEntry or VirtualService,
	// that have a host equal to host or, where host is a wildcard, below it;
	// that are older than obj, of whichever namespace; and that some namespace
	// sees which sees obj too. All are older than an object that, as the mesh
	// knows it, does not have the host yet, or not for all who would see it. The order
	// is by host and age. There are at most [MaxClaims] of other namespaces, and as
	// many of obj's own; complete is false if there may be more of others.
	HostClaims(kind *Kind, obj Object, host string) (older []Object, complete bool)
	// PortClaims is like HostClaims for ServiceEntries that take all TCP
	// connections to the port, since nothing but the port tells them apart: no
	// addresses, and a protocol that names no host.
	PortClaims(obj Object, port uint32) (older []Object, complete bool)
	// AddressClaims is like HostClaims for objects of the kind, ServiceEntry or
	// Service, with an address in the range, or a range around it. Services
	// count whatever their age, and are seen by all.
	AddressClaims(kind *Kind, obj Object, addresses netip.Prefix) (older []Object, complete bool)
	// Complete reports whether all objects of the kind are known, so that
	// not to find one proves that there is none.
	Complete(kind *Kind) bool
}

// MaxClaims is the most objects that a [Mesh] returns for one question about
// claims.
const MaxClaims = 16

type unknownMesh struct{}

func (unknownMesh) ServiceEntry(string, string) *networkingv1.ServiceEntry { return nil }

func (unknownMesh) VirtualService(string, string) *networkingv1.VirtualService { return nil }

func (unknownMesh) DestinationRule(string, string, string) *networkingv1.DestinationRule { return nil }

func (unknownMesh) AuthorizationPolicies(string) []*securityv1.AuthorizationPolicy { return nil }

func (unknownMesh) Gateways(map[string]string) []*networkingv1.Gateway { return nil }

func (unknownMesh) Object(*Kind, string, string) Object { return nil }

func (unknownMesh) HostClaims(*Kind, Object, string) ([]Object, bool) { return nil, true }

func (unknownMesh) PortClaims(Object, uint32) ([]Object, bool) { return nil, true }

func (unknownMesh) AddressClaims(*Kind, Object, netip.Prefix) ([]Object, bool) { return nil, true }

func (unknownMesh) Complete(*Kind) bool { return false }

// A Pass is the application of one rule to one object, and all that the rule
// may know. It must not be kept after the rule returns, nor be used by several
// goroutines.
type Pass struct {
	Rule   *Rule
	Policy *policy.Policy
	Config *config.Configuration
	Mesh   Mesh
	// Unknown is what somebody wrote that the object does not have.
	Unknown []UnknownField

	await        func()
	obj          Object
	findings     *[]Finding
	notEvaluated *[]NotEvaluated
}

// Report records a finding at the rule's own severity. The error must carry
// the offending value where there is one: an update is measured by it.
func (p *Pass) Report(err *field.Error) {
	p.ReportAs(p.Rule.Severity, err)
}

// ReportAs is like Report for a part of the rule that is graver or lighter than
// the rest of it. [Off] drops the finding unless the policy names the rule.
func (p *Pass) ReportAs(severity Severity, err *field.Error) {
	*p.findings = append(*p.findings, Finding{
		Error:    err.WithOrigin(p.Rule.Name),
		Rule:     p.Rule,
		Object:   p.obj,
		Severity: severity,
	})
}

// Await says that there are findings only because the mesh does not know an object
// that somebody may have created a moment ago.
func (p *Pass) Await() { p.await() }

// NotEvaluated records that the rule, or a part of it, could not tell. The
// reason says what was not known, such as "no clusterCIDRs are configured".
func (p *Pass) NotEvaluated(reason string) {
	*p.notEvaluated = append(*p.notEvaluated, NotEvaluated{Rule: p.Rule, Object: p.obj, Reason: reason})
}

// NotEvaluated says that a rule could not tell about an object, and why.
type NotEvaluated struct {
	Rule   *Rule
	Object Object
	Reason string
}
