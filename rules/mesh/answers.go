// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// ServiceEntry implements [analysis.Mesh]. The most specific host that somebody
// in the namespace sees wins: the name itself, then the longest wildcard. Who
// provides one host is settled as istiod does.
func (x *Index) ServiceEntry(namespace, h string) *networkingv1.ServiceEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	se, _ := x.serviceEntries.find(h, namespace)
	return se
}

// VirtualService implements [analysis.Mesh].
func (x *Index) VirtualService(namespace, h string) *networkingv1.VirtualService {
	x.mu.RLock()
	defer x.mu.RUnlock()
	vs, _ := x.virtualServices.find(h, namespace)
	return vs
}

// DestinationRule implements [analysis.Mesh] (istio.io/istio v1.31,
// pilot/pkg/model/push_context.go, destinationRule). DestinationRules with a
// workloadSelector, which only some pods apply, do not count.
func (x *Index) DestinationRule(namespace, h, provider string) *networkingv1.DestinationRule {
	x.mu.RLock()
	defer x.mu.RUnlock()
	order := []string{namespace, provider, x.config.Mesh.RootNamespace}
	if namespace == x.config.Mesh.RootNamespace {
		order = order[1:] // what is there is for all, not first of all for its own proxies
	}
	for _, from := range order {
		if rules := x.destinationRules[from]; rules != nil {
			if dr, ok := rules.find(h, namespace); ok {
				return dr
			}
		}
	}
	return nil
}

// AuthorizationPolicies implements [analysis.Mesh].
func (x *Index) AuthorizationPolicies(namespace string) []*securityv1.AuthorizationPolicy {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.policies[namespace]
}

// Gateways implements [analysis.Mesh].
func (x *Index) Gateways(labels map[string]string) []*networkingv1.Gateway {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.gateways.selecting(labels)
}

// HostClaims implements [analysis.Mesh].
func (x *Index) HostClaims(kind *analysis.Kind, obj analysis.Object, h string) (older []analysis.Object, complete bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := x.hostClaims[kind]
	if c == nil {
		return nil, true
	}
	q := x.question(c, obj, func(d *declaration) bool { return slices.Contains(d.hosts, h) })
	if !host.IsWildcard(h) {
		q.at(hostKey(h))
		return q.answer()
	}
	_, base, _ := strings.Cut(h, ".")
	below := ""
	if base != "" {
		below = hostKey(base) + "."
	}
	q.from(below, func(k string) bool { return strings.HasPrefix(k, below) })
	if host.IsPartial(h) {
		q.keep(func(f found) bool { return host.Covers(h, hostKey(f.key)) })
	}
	return q.answer()
}

// PortClaims implements [analysis.Mesh].
func (x *Index) PortClaims(obj analysis.Object, port uint32) (older []analysis.Object, complete bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	key := portKey(port)
	q := x.question(x.portClaims, obj, func(d *declaration) bool { return slices.Contains(d.ports, key) })
	q.at(key)
	return q.answer()
}

// AddressClaims implements [analysis.Mesh].
func (x *Index) AddressClaims(kind *analysis.Kind, obj analysis.Object, p netip.Prefix) (older []analysis.Object, complete bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	a := x.addressClaims[kind]
	if a == nil || !p.IsValid() {
		return nil, true
	}
	q := x.question(a.claims, obj, func(d *declaration) bool { return slices.Contains(d.addresses, p) })
	q.anyAge = kind == analysis.Service
	a.collect(q, p)
	return q.answer()
}

// question begins a question about a claim. Only a claim that the object makes in
// the mesh already, for all who would see it, is as old as the object: else
// somebody could create an object early, and have it claim later. Times of creation
// would not tell what is new, being in seconds.
func (x *Index) question(c *claims, obj analysis.Object, claims func(*declaration) bool) *question {
	q := &question{claims: c, obj: obj, seen: x.scope(obj)}
	before, known := x.objects[analysis.KindOf(obj)][name{obj.GetNamespace(), obj.GetName()}]
	q.isNew = !known || !claims(&before) || !before.seen.Includes(q.seen)
	return q
}

// scope returns who sees an object, also one that is not in the index yet.
func (x *Index) scope(obj analysis.Object) visibility.Scope {
	switch o := obj.(type) {
	case *networkingv1.ServiceEntry:
		return visibility.OfServiceEntry(x.config, o)
	case *networkingv1.VirtualService:
		return visibility.OfVirtualService(x.config, o)
	case *networkingv1.DestinationRule:
		return visibility.OfDestinationRule(x.config, o)
	default:
		return visibility.Scope{Public: true}
	}
}
