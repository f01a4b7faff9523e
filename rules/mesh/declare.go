// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"net/netip"
	"strconv"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// A declaration is what an object said when it was set, lest a later change of
// the object tear the index apart.
type declaration struct {
	object    analysis.Object
	seen      visibility.Scope
	hosts     []string
	ports     []string
	addresses []netip.Prefix
	selector  map[string]string
	// gatewaysOnly is set for a VirtualService that no sidecar uses.
	gatewaysOnly bool
}

func (x *Index) declare(obj analysis.Object) declaration {
	d := declaration{object: obj}
	switch o := obj.(type) {
	case *networkingv1.ServiceEntry:
		d.seen = visibility.OfServiceEntry(x.config, o)
		for _, h := range o.Spec.GetHosts() {
			d.hosts = append(d.hosts, host.Normal(h))
		}
		d.addresses = parseAll(o.Spec.GetAddresses())
		d.ports = sharedPorts(o)
	case *networkingv1.VirtualService:
		d.seen = visibility.OfVirtualService(x.config, o)
		d.hosts = x.expand(o, o.Spec.GetHosts())
		d.gatewaysOnly = !route.AppliesToMesh(o)
	case *networkingv1.DestinationRule:
		if o.Spec.GetWorkloadSelector() == nil { // others apply to some pods only
			d.seen = visibility.OfDestinationRule(x.config, o)
			d.hosts = x.expand(o, []string{o.Spec.GetHost()})
		}
	case *networkingv1.Gateway:
		d.selector = o.Spec.GetSelector()
	case *corev1.Service:
		d.seen = visibility.Scope{Public: true}
		d.addresses = parseAll(serviceAddresses(o))
	}
	return d
}

func (x *Index) expand(obj analysis.Object, written []string) []string {
	hosts := make([]string, 0, len(written))
	for _, h := range written {
		hosts = append(hosts, host.Expand(h, obj.GetNamespace(), x.config.Mesh.ClusterDomain))
	}
	return hosts
}

// sharedPorts are the ports of which a ServiceEntry takes all connections.
func sharedPorts(se *networkingv1.ServiceEntry) []string {
	if len(se.Spec.GetAddresses()) > 0 {
		return nil
	}
	var keys []string
	for _, p := range se.Spec.GetPorts() {
		if port.Parse(p.GetProtocol()).Nameless() {
			keys = append(keys, portKey(p.GetNumber()))
		}
	}
	return keys
}

func portKey(number uint32) string { return strconv.FormatUint(uint64(number), 10) }

func parseAll(written []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, w := range written {
		if p, ok := cidr.Parse(w); ok {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

func serviceAddresses(svc *corev1.Service) []string {
	all := append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...)
	all = append(all, svc.Spec.ExternalIPs...)
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		all = append(all, ingress.IP)
	}
	return all
}

// apply puts a declaration into the indexes of its kind, or takes it out.
func (x *Index) apply(d *declaration, present bool) {
	own := d.object.GetNamespace()
	switch o := d.object.(type) {
	case *networkingv1.ServiceEntry:
		rank(&x.serviceEntries, o, d.hosts, serviceEntryPlaces(own, d.seen), present)
		x.hostClaims[analysis.ServiceEntry].set(o, d.seen, hostKeys(d.hosts), present)
		x.portClaims.set(o, d.seen, d.ports, present)
		x.addressClaims[analysis.ServiceEntry].set(o, d.seen, d.addresses, present)
	case *networkingv1.VirtualService:
		if !d.gatewaysOnly {
			rank(&x.virtualServices, o, d.hosts, virtualServicePlaces(own, d.seen), present)
		}
		x.hostClaims[analysis.VirtualService].set(o, d.seen, hostKeys(d.hosts), present)
	case *networkingv1.DestinationRule:
		rules := x.destinationRules[own]
		if rules == nil {
			rules = new(node[*networkingv1.DestinationRule])
			x.destinationRules[own] = rules
		}
		rank(rules, o, d.hosts, destinationRulePlaces(own, d.seen), present)
		if rules.empty() {
			delete(x.destinationRules, own)
		}
	case *securityv1.AuthorizationPolicy:
		x.policies.set(o, present)
	case *networkingv1.Gateway:
		x.gateways.set(o, d.selector, present)
	case *corev1.Service:
		x.addressClaims[analysis.Service].set(o, d.seen, d.addresses, present)
	}
}
