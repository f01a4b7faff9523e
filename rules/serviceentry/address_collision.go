// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

var addressCollision = &analysis.Rule{
	Name:     "serviceentry/address-collision",
	Severity: analysis.Error,
	Doc: `addresses must not be somebody else's

Proxies send what is addressed to a service entry's addresses to its endpoints. An
address that belongs to another namespace's Service, to the API server or to the
mesh's pods captures traffic that was meant for them.

Denied are addresses and ranges that overlap with the cluster IP, an external IP
or the load balancer's IP of a Service in another namespace; with an address of an
older service entry of another namespace, if some namespace sees both; and, for a
service entry that leads out of the mesh, with the mesh's clusterCIDRs. However an
address is written, and if it is IPv4 mapped into IPv6, it is the same.

Use the destination's real addresses, or an address that nobody has; 240.0.0.0/4
is what Istio itself allocates from. Platform namespaces are exempt.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.Service},
	Run:   analysis.On(checkAddressCollision),
}

func checkAddressCollision(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if len(se.Spec.GetAddresses()) == 0 || pass.Config.IsPlatform(se.GetNamespace()) {
		return
	}
	leadsOut := egress(pass.Config, se) == outside
	known := pass.Mesh.Complete(analysis.Service) && pass.Mesh.Complete(analysis.ServiceEntry)
	for i, a := range se.Spec.GetAddresses() {
		p, ok := cidr.Parse(a)
		if !ok || p.Addr().IsUnspecified() { // serviceentry/open-proxy
			continue
		}
		path := addressesPath.Index(i)
		owner, complete := addressOwner(pass, se, p)
		known = known && complete
		if owner != nil {
			pass.Report(field.Invalid(path, a, fmt.Sprintf("must not overlap with an address of %s '%s/%s', whose traffic it would capture; use the destination's real address",
				analysis.KindOf(owner).Kind, owner.GetNamespace(), owner.GetName())))
			continue
		}
		overlaps := func(r netip.Prefix) bool { return cidr.Overlaps(r, p) }
		if j := slices.IndexFunc(pass.Config.Mesh.ClusterCIDRs, overlaps); leadsOut && j >= 0 {
			pass.Report(field.Invalid(path, a, fmt.Sprintf("must not overlap with the mesh's own range '%s', whose traffic it would capture; use the destination's real address",
				pass.Config.Mesh.ClusterCIDRs[j])))
		}
	}
	if !known {
		pass.NotEvaluated("not all Services and ServiceEntries are known that may have these addresses")
	}
}

// addressOwner returns an object of another namespace that has an address in the
// range.
func addressOwner(pass *analysis.Pass, se *networkingv1.ServiceEntry, p netip.Prefix) (owner analysis.Object, complete bool) {
	complete = true
	for _, kind := range []*analysis.Kind{analysis.Service, analysis.ServiceEntry} {
		owners, all := pass.Mesh.AddressClaims(kind, se, p)
		i := slices.IndexFunc(owners, func(o analysis.Object) bool { return o.GetNamespace() != se.GetNamespace() })
		if i >= 0 {
			return owners[i], true
		}
		complete = complete && all
	}
	return nil, complete
}
