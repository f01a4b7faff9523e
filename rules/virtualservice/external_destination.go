// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/namespace"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var externalDestination = &analysis.Rule{
	Name:     "virtualservice/external-destination",
	Severity: analysis.Error,
	Doc: `requests for one host must not leave for another

A route can send what clients address to a Service of the mesh, or to one supplier,
to any external host. Clients do not notice; with TLS the server name says one host
while the bytes go to another.

The rule looks at destinations outside the mesh that receive traffic: they have
weight, or are the only ones of their route. Each must be a host of the virtual
service or below a wildcard of it, or have the same registered domain as one, as
origin.example.com has for www.example.com. For TLS routes the server names of the
matches count instead. If a host of the virtual service is inside the mesh, the
destination is denied, else warned about, as it is in a delegate, whose hosts are
those of others. A destination of two labels counts as external only if a service
entry declares it.

Route to the host itself. Where a Service is meant to be replaced by an external
host, let clients use that host's own name.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.Namespace},
	Run:   analysis.On(checkExternalDestination),
}

func checkExternalDestination(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	var hosts []string
	severity := analysis.Warning
	for f := range route.Forwards(vs) {
		if !f.Active || !leaves(pass, vs, f) {
			continue
		}
		if hosts == nil {
			hosts = hostsOf(pass, vs)
			if slices.ContainsFunc(hosts, func(h string) bool { return isInside(pass, h) }) {
				severity = analysis.Error
			}
		}
		dest := host.Normal(f.Destination.GetHost())
		for _, name := range clientNames(f, hosts) {
			if !isRelated(name, dest) {
				pass.ReportAs(severity, field.Invalid(f.Path().Child("host"), f.Destination.GetHost(), fmt.Sprintf(
					"must not receive what clients send to '%s'; route to that host itself, or let clients use this one", name)))
				break
			}
		}
	}
}

// leaves reports whether a destination is outside the mesh.
func leaves(pass *analysis.Pass, vs *networkingv1.VirtualService, f route.Forward) bool {
	_, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), f.Destination)
	return external
}

// hostsOf returns the hosts of a VirtualService in normal form. Those of a delegate
// are not known: it has the one that no destination is related to.
func hostsOf(pass *analysis.Pass, vs *networkingv1.VirtualService) []string {
	hosts := make([]string, 0, len(vs.Spec.GetHosts()))
	for _, h := range vs.Spec.GetHosts() {
		hosts = append(hosts, host.Expand(h, vs.GetNamespace(), pass.Config.Mesh.ClusterDomain))
	}
	return hosts
}

func isInside(pass *analysis.Pass, h string) bool {
	return host.Internal(h, &pass.Config.Mesh, func(name string) bool { return namespace.Exists(pass, name) })
}

// clientNames returns the names of which one must be related to the destination:
// each server name of a TLS route; else the hosts, of which it is enough that one
// is related, so that the first stands for all if none is.
func clientNames(f route.Forward, hosts []string) []string {
	var names []string
	for _, m := range f.TLS.GetMatch() {
		for _, sni := range m.GetSniHosts() {
			names = append(names, host.Normal(sni))
		}
	}
	if len(names) > 0 {
		return names
	}
	dest := host.Normal(f.Destination.GetHost())
	if slices.ContainsFunc(hosts, func(h string) bool { return isRelated(h, dest) }) {
		return nil
	}
	if len(hosts) == 0 {
		return []string{"the hosts of whoever delegates"}
	}
	return hosts[:1]
}

// isRelated reports whether a destination is the name, below the wildcard, or of
// the same registered domain.
func isRelated(name, dest string) bool {
	domain := host.RegisteredDomain(dest)
	return host.Covers(name, dest) || domain != "" && host.RegisteredDomain(name) == domain
}
