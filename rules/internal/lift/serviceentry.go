// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

// ServiceEntry returns the exportTo that makes a ServiceEntry visible to the gateway
// of the policy, or nil if it shall stay as it is: since the gateway sees it, since
// none of its hosts can be led through the gateway, or since another namespace has
// one of the hosts there.
func ServiceEntry(w *World, se *networkingv1.ServiceEntry) []string {
	g := w.gateway()
	if g == nil || w.isAmbient(se.GetNamespace()) || !isLeadable(w, se) {
		return nil
	}
	if scope := visibility.OfServiceEntry(w.Config, se); scope.Public || scope.Empty() || slices.Contains(scope.Namespaces, g.Namespace()) {
		return nil
	}
	exportTo := slices.Clone(se.Spec.GetExportTo())
	if len(exportTo) == 0 {
		exportTo = slices.Clone(w.Config.Mesh.DefaultExportTo.ServiceEntry)
	}
	exportTo = withNamespace(exportTo, se.GetNamespace(), g.Namespace())
	after := &networkingv1.ServiceEntry{ObjectMeta: se.ObjectMeta}
	after.Spec.Hosts, after.Spec.ExportTo = se.Spec.GetHosts(), exportTo
	for _, h := range se.Spec.GetHosts() {
		if isClaimed(w, after, host.Normal(h)) {
			return nil
		}
	}
	return exportTo
}

// isClaimed reports whether another namespace has a host where a ServiceEntry would
// be seen: serviceentry/host-owner would deny it.
func isClaimed(w *World, se *networkingv1.ServiceEntry, h string) bool {
	isOther := func(o analysis.Object) bool { return o.GetNamespace() != se.GetNamespace() }
	entries, all := w.Mesh.HostClaims(analysis.ServiceEntry, se, h)
	if !all || slices.ContainsFunc(entries, isOther) {
		return true
	}
	routes, all := w.Mesh.HostClaims(analysis.VirtualService, se, h)
	return !all || slices.ContainsFunc(routes, isOther)
}

// isLeadable reports whether a gateway could connect to some host of a ServiceEntry.
func isLeadable(w *World, se *networkingv1.ServiceEntry) bool {
	if se.Spec.GetLocation() == networking.ServiceEntry_MESH_INTERNAL {
		return false
	}
	switch se.Spec.GetResolution() {
	case networking.ServiceEntry_NONE, networking.ServiceEntry_DYNAMIC_DNS:
		return false
	default:
	}
	return slices.ContainsFunc(se.Spec.GetHosts(), func(h string) bool {
		h = host.Normal(h)
		return !host.IsWildcard(h) && !host.Internal(h, &w.Config.Mesh, nil) && !approval.Direct(w.Policy, h, approval.Ports(nil, se))
	})
}
