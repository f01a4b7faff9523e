// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var hostOwner = &analysis.Rule{
	Name:     "serviceentry/host-owner",
	Severity: analysis.Error,
	Doc: `a host belongs to the namespace that declared it first

Of several service entries for a host that a namespace sees, istiod takes one:
the namespace's own, else the oldest, whoever wrote it. In an ambient mesh one
entry serves all. So a namespace that declares the host of another may receive
its traffic, or make its own entry disappear.

A host is denied if an older service entry of another namespace has it, and some
namespace sees both; or an older VirtualService of another namespace (not of a
platform namespace) that sidecars use. A wildcard is also denied for what others
have declared below it; a name below somebody's wildcard is not. A host that a
policy calls exclusive belongs to the namespaces that the policy selects, whoever
was first. Several service entries of one namespace are not this rule's matter;
platform namespaces are exempt.

Ask the owner to export the host to this namespace, or make both service entries
private with exportTo: ['.'].`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.VirtualService},
	Run:   analysis.On(checkHostOwner),
}

func checkHostOwner(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if pass.Config.IsPlatform(se.GetNamespace()) {
		return
	}
	for i, written := range se.Spec.GetHosts() {
		h := host.Normal(written)
		path := hostsPath.Index(i)
		if by := reservedBy(pass.Policy, h); by != "" {
			pass.Report(field.Invalid(path, written, fmt.Sprintf("must be declared only in the namespaces of EgressPolicy '%s'; ask its owners to export it to this one", by)))
			continue
		}
		owner, complete := olderOwner(pass, se, h)
		if owner == nil && !complete {
			// Else own claims, of which there may be any number, would hide others'.
			pass.Report(field.Invalid(path, written, "must not cover more hosts than can be looked at for their owners; list the hosts one by one"))
		}
		if owner != nil {
			pass.Report(field.Invalid(path, written, fmt.Sprintf(
				"must not overlap with a host of %s '%s/%s', which had it first; ask its owner to export it to this namespace, or set `exportTo: ['.']` in both",
				analysis.KindOf(owner).Kind, owner.GetNamespace(), owner.GetName())))
		}
	}
	if !pass.Mesh.Complete(analysis.ServiceEntry) {
		pass.NotEvaluated("not all ServiceEntries and VirtualServices are known that may have these hosts")
	}
}

// reservedBy returns the policy that keeps the host for other namespaces, or "".
func reservedBy(pol *policy.Policy, h string) string {
	isOurs := func(a policy.AllowedHost) bool { return a.Exclusive && host.Approves(a.Host, h) }
	if slices.ContainsFunc(pol.AllowedHosts, isOurs) {
		return ""
	}
	for _, r := range pol.ReservedHosts {
		if host.Overlaps(r.Host, h) {
			return r.Policy
		}
	}
	return ""
}

// olderOwner returns an object of another namespace that had the host first.
func olderOwner(pass *analysis.Pass, se *networkingv1.ServiceEntry, h string) (owner analysis.Object, complete bool) {
	entries, all := pass.Mesh.HostClaims(analysis.ServiceEntry, se, h)
	services, allServices := pass.Mesh.HostClaims(analysis.VirtualService, se, h)
	isOther := func(o analysis.Object) bool { return o.GetNamespace() != se.GetNamespace() }
	if i := slices.IndexFunc(entries, isOther); i >= 0 {
		return entries[i], true
	}
	i := slices.IndexFunc(services, func(o analysis.Object) bool {
		vs, ok := o.(*networkingv1.VirtualService)
		return ok && isOther(o) && !pass.Config.IsPlatform(o.GetNamespace()) && route.AppliesToMesh(vs)
	})
	if i >= 0 {
		return services[i], true
	}
	return nil, all && allServices
}
