// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"

	networking "istio.io/api/networking/v1alpha3"
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
weight, or are the only ones of their route. Each must have the same registered
domain as a host of the virtual service, as origin.example.com has for
www.example.com and for '*.example.com'. For TLS routes each server name of the
matches counts instead. If any host of the virtual service is inside the mesh, the
destination is denied, else warned about, as it is in a delegate, whose hosts are
those of others. A destination of two labels counts as external only if a service
entry declares it.

Route to the host itself. Where a Service is meant to be replaced by an external
host, let clients use that host's own name.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry, analysis.Namespace},
	Run:   analysis.On(checkExternalDestination),
}

func checkExternalDestination(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	var c *clients
	for f := range route.Forwards(vs) {
		if !f.Active || !leaves(pass, vs, f) {
			continue
		}
		if c == nil {
			c = clientsOf(pass, vs)
		}
		if name := c.unrelated(f); name != "" {
			pass.ReportAs(c.severity, field.Invalid(f.Path().Child("host"), f.Destination.GetHost(), fmt.Sprintf(
				"must not receive what clients send to '%s'; route to that host itself, or let clients use this one", name)))
		}
	}
}

// leaves reports whether a destination is outside the mesh.
func leaves(pass *analysis.Pass, vs *networkingv1.VirtualService, f route.Forward) bool {
	_, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), f.Destination)
	return external
}

// clients are the hosts that clients of a VirtualService may mean.
type clients struct {
	severity analysis.Severity
	// first stands for the hosts in messages: one inside the mesh, if there is
	// one.
	first string
	// inside is set if a host is inside the mesh, to which nothing outside is
	// related.
	inside bool
	// families are those of the hosts.
	families map[string]bool

	// serverNames are those of the TLS route that was asked about last.
	tls         *networking.TLSRoute
	serverNames []string
}

func clientsOf(pass *analysis.Pass, vs *networkingv1.VirtualService) *clients {
	c := &clients{severity: analysis.Warning, first: "the hosts of whoever delegates", families: map[string]bool{}}
	for i, h := range hostsOf(pass, vs) {
		inside := isInside(pass, h)
		if i == 0 || inside && !c.inside {
			c.first = h
		}
		if inside {
			c.inside, c.severity = true, analysis.Error
		}
		c.families[family(h)] = true
	}
	return c
}

// unrelated returns a name that clients mean and to which the destination is not
// related, or "": one of the server names of a TLS route; else a host inside the
// mesh, or any of the hosts if it is related to none of them.
func (c *clients) unrelated(f route.Forward) string {
	dest := family(host.Normal(f.Destination.GetHost()))
	if f.TLS == nil {
		if c.inside || !c.families[dest] {
			return c.first
		}
		return ""
	}
	if c.tls != f.TLS {
		c.tls, c.serverNames = f.TLS, oneOfEachFamily(f.TLS)
	}
	for _, name := range c.serverNames {
		if family(name) != dest {
			return name
		}
	}
	return ""
}

// oneOfEachFamily returns the first server name of each family that a route takes,
// two at most: a destination is related to one of them, if at all.
func oneOfEachFamily(r *networking.TLSRoute) []string {
	var names []string
	for _, m := range r.GetMatch() {
		for _, sni := range m.GetSniHosts() {
			name := host.Normal(sni)
			if len(names) == 0 || family(name) != family(names[0]) {
				names = append(names, name)
			}
			if len(names) == 2 {
				return names
			}
		}
	}
	return names
}

// family is what related names have in common: their registered domain, else the
// name itself.
func family(h string) string {
	if domain := host.RegisteredDomain(h); domain != "" {
		return domain
	}
	return h
}

// hostsOf returns the hosts of a VirtualService in normal form.
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
