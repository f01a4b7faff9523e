// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var timeout = &analysis.Mutator{
	Name: "mutate/timeout",
	Doc: `give HTTP routes to external hosts the policy's timeout

Without a timeout a route waits for ever: a supplier that hangs holds the
caller's connections until nothing moves any more. The built-in policy gives
such routes 15 seconds, and the answer to the request says so in a warning.

A route that has a timeout keeps it, and so does one whose retries have a
perTryTimeout, which bounds it already. A timeout cuts streams off, so that
routes are left alone that may carry one: to hosts whose ServiceEntry has a port
of protocol GRPC, GRPC-WEB or HTTP2, and with matches on upgrades or event
streams. For the same reason nothing is set as long as no ServiceEntry declares
the host. Left alone are further redirects, direct responses and delegations,
routes with fault injection, routes that also lead to hosts inside the mesh, and
routes that only ingress gateways use: a timeout that nobody asked for would be
an outage there. A delegate is filled in itself, not where it is named.

To opt out, annotate the object with sallyport.dev/inject: none, or with a list
of what shall be filled in, such as "retries". Istio takes no timeout of zero.
The annotation counts for nothing where the policy's gateway or waypoint has
mode Require.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Apply: analysis.To(applyTimeout),
}

func applyTimeout(edit *analysis.Edit, vs *networkingv1.VirtualService) {
	for i, r := range egressRoutes(edit, vs) {
		if fillTimeout(edit, vs, r) {
			edit.Set(httpPath.Index(i).Child("timeout"), r.GetTimeout())
		}
	}
}

// fillTimeout gives a route the timeout that it lacks, if it shall have one.
func fillTimeout(edit *analysis.Edit, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	if edit.Policy.Defaults.Timeout == nil || r.GetTimeout() != nil || r.GetRetries().GetPerTryTimeout() != nil || mayStream(edit, vs, r) {
		return false
	}
	r.Timeout = durationpb.New(*edit.Policy.Defaults.Timeout)
	return true
}

// mayStream reports whether a response on the route may be meant to last.
func mayStream(edit *analysis.Edit, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	if slices.ContainsFunc(r.GetMatch(), matchesStreams) {
		return true
	}
	for _, d := range r.GetRoute() {
		se, _ := route.External(edit.Config, edit.Mesh, vs.GetNamespace(), d.GetDestination())
		if se == nil && edit.Mesh.Complete(analysis.ServiceEntry) {
			return true // nobody has said yet what the host speaks
		}
		for _, p := range portsOf(se) {
			if isStreaming(p, d.GetDestination()) {
				return true
			}
		}
	}
	return false
}

// matchesStreams reports whether a match is on upgraded connections, of which
// websockets are all that Istio's proxies take, or on event streams.
func matchesStreams(m *networking.HTTPMatchRequest) bool {
	for header, value := range m.GetHeaders() {
		if strings.EqualFold(header, "upgrade") {
			return true
		}
		if !strings.EqualFold(header, "accept") {
			continue
		}
		for _, s := range []string{value.GetExact(), value.GetPrefix(), value.GetRegex()} {
			if strings.Contains(strings.ToLower(s), "event-stream") {
				return true
			}
		}
	}
	return false
}

func isStreaming(p *networking.ServicePort, d *networking.Destination) bool {
	if number := d.GetPort().GetNumber(); number != 0 && number != p.GetNumber() {
		return false
	}
	switch port.Parse(p.GetProtocol()) {
	case port.GRPC, port.GRPCWeb, port.HTTP2:
		return true
	default:
		return false
	}
}

func portsOf(se *networkingv1.ServiceEntry) []*networking.ServicePort {
	if se == nil {
		return nil
	}
	return se.Spec.GetPorts()
}
