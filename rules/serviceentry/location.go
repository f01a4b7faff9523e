// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/namespace"
)

var location = &analysis.Rule{
	Name:     "serviceentry/location",
	Severity: analysis.Error,
	Doc: `location MESH_INTERNAL is for what is in the mesh

A service entry with location MESH_INTERNAL says that its hosts are part of the
mesh, and many policies look only at MESH_EXTERNAL. An internet host that is
called internal would dodge them.

All hosts and the names of endpoints must be inside: below the cluster domain or
'svc', a name without a dot, '<service>.<namespace>' of an existing namespace, or
below one of the mesh's internalSuffixes. All addresses must lie in the mesh's
clusterCIDRs; if none are configured, addresses are not judged.

Use location MESH_EXTERNAL. For virtual machines, have the platform team add their
DNS suffix and their range to Sallyport's configuration.`,
	Reads: []*analysis.Kind{analysis.Namespace},
	Run:   analysis.On(checkLocation),
}

func checkLocation(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if se.Spec.GetLocation() != networking.ServiceEntry_MESH_INTERNAL {
		return
	}
	l := &locationCheck{pass: pass}
	spec := specPath
	for i, h := range se.Spec.GetHosts() {
		l.name(spec.Child("hosts").Index(i), h)
	}
	for i, a := range se.Spec.GetAddresses() {
		if p, ok := cidr.Parse(a); ok {
			l.reach(spec.Child("addresses").Index(i), a, rangeReach(&pass.Config.Mesh, p))
		}
	}
	for i, e := range se.Spec.GetEndpoints() {
		path := spec.Child("endpoints").Index(i).Child("address")
		switch p, ok := cidr.Parse(e.GetAddress()); {
		case e.GetAddress() == "", strings.HasPrefix(e.GetAddress(), "unix:"):
		case ok:
			l.reach(path, e.GetAddress(), rangeReach(&pass.Config.Mesh, p))
		default:
			l.name(path, e.GetAddress())
		}
	}
	if l.noRanges {
		pass.NotEvaluated(unclearReason)
	}
	if l.noNamespaces {
		pass.NotEvaluated("not all namespaces are known to tell whether a host of two labels is a Service's")
	}
}

type locationCheck struct {
	pass                   *analysis.Pass
	noRanges, noNamespaces bool
}

func (l *locationCheck) name(path *field.Path, written string) {
	h := host.Normal(written)
	known := func(name string) bool { return namespace.Exists(l.pass, name) }
	switch {
	case host.Internal(h, &l.pass.Config.Mesh, known):
	case host.Labels(h) == 2 && !host.IsWildcard(h) && !l.pass.Mesh.Complete(analysis.Namespace):
		l.noNamespaces = true
	default:
		l.pass.Report(field.Invalid(path, written,
			"must be a name inside the mesh, as `location: MESH_INTERNAL` says; use 'MESH_EXTERNAL', or have its suffix added to `internalSuffixes` of the configuration"))
	}
}

func (l *locationCheck) reach(path *field.Path, written string, r reach) {
	switch r {
	case inside:
	case unclear:
		l.noRanges = true
	case outside:
		l.pass.Report(field.Invalid(path, written,
			"must be an address inside the mesh, as `location: MESH_INTERNAL` says; use 'MESH_EXTERNAL', or have its range added to `clusterCIDRs` of the configuration"))
	}
}
