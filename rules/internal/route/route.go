// SPDX-License-Identifier: Apache-2.0

// Package route answers what rules and mutators ask alike about the routes of a
// VirtualService: whom they apply to and where they lead.
package route

import (
	"iter"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// Mesh is the reserved gateway name that stands for all sidecars.
const Mesh = "mesh"

// AppliesToEgress reports whether sidecars or an egress gateway use an HTTP route
// of the VirtualService, or whether it is a delegate, which belongs to others
// that they may use. A route that is for ingress gateways alone does not.
func AppliesToEgress(c *config.Configuration, vs *networkingv1.VirtualService, r *networking.HTTPRoute) bool {
	if !namesEgress(c, vs.GetNamespace(), vs.Spec.GetGateways()) {
		return false
	}
	matches := r.GetMatch()
	return len(matches) == 0 || slices.ContainsFunc(matches, func(m *networking.HTTPMatchRequest) bool {
		return namesEgress(c, vs.GetNamespace(), m.GetGateways())
	})
}

// Gateways returns where a route applies: [Mesh], or namespace/name of gateways.
// matches are the gateways of each of the route's matches, of which none at all
// means every request. A match can narrow down the VirtualService's own list, but
// not add to it (istio.io/istio v1.31, pilot/pkg/networking/core/route/route.go,
// sourceMatchHTTP, and pilot/pkg/model/push_context.go, getGatewayNames).
func Gateways(vs *networkingv1.VirtualService, matches [][]string) []string {
	own := onlyMesh
	if len(vs.Spec.GetGateways()) > 0 {
		own = normalGateways(vs.Spec.GetGateways(), vs.GetNamespace())
	}
	if len(matches) == 0 {
		return own
	}
	return slices.DeleteFunc(slices.Clone(own), func(g string) bool {
		return !slices.ContainsFunc(matches, func(gateways []string) bool {
			return len(gateways) == 0 || slices.Contains(normalGateways(gateways, vs.GetNamespace()), g)
		})
	})
}

var onlyMesh = []string{Mesh}

func normalGateways(gateways []string, namespace string) []string {
	var names []string
	for _, g := range gateways {
		if g != Mesh {
			g = GatewayName(g, namespace)
		}
		if !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	return names
}

// A Forward is one destination of a route.
type Forward struct {
	// Destination is nil if it is missing.
	Destination *networking.Destination
	// Active is set unless the destination has no weight beside others.
	Active bool
	// Gateways are those on which the route applies, as [Gateways] returns them.
	Gateways []string
	// HTTP, TLS and TCP are the route; one of them is set.
	HTTP *networking.HTTPRoute
	TLS  *networking.TLSRoute
	TCP  *networking.TCPRoute

	routes       *field.Path
	route, index int
}

// Path returns the path of the destination.
func (f *Forward) Path() *field.Path {
	return f.routes.Index(f.route).Child("route").Index(f.index).Child("destination")
}

var (
	httpPath = field.NewPath("spec", "http")
	tlsPath  = field.NewPath("spec", "tls")
	tcpPath  = field.NewPath("spec", "tcp")
)

// Forwards yields the destinations of all routes of a VirtualService, mirrors and
// delegates not included.
func Forwards(vs *networkingv1.VirtualService) iter.Seq[Forward] {
	return func(yield func(Forward) bool) {
		for i, r := range vs.Spec.GetHttp() {
			f := Forward{HTTP: r, Gateways: Gateways(vs, gatewaysOf(r.GetMatch())), routes: httpPath, route: i}
			if !forward(f, r.GetRoute(), yield) {
				return
			}
		}
		for i, r := range vs.Spec.GetTls() {
			f := Forward{TLS: r, Gateways: Gateways(vs, gatewaysOf(r.GetMatch())), routes: tlsPath, route: i}
			if !forward(f, r.GetRoute(), yield) {
				return
			}
		}
		for i, r := range vs.Spec.GetTcp() {
			f := Forward{TCP: r, Gateways: Gateways(vs, gatewaysOf(r.GetMatch())), routes: tcpPath, route: i}
			if !forward(f, r.GetRoute(), yield) {
				return
			}
		}
	}
}

func gatewaysOf[M interface{ GetGateways() []string }](matches []M) [][]string {
	var all [][]string
	for _, m := range matches {
		all = append(all, m.GetGateways())
	}
	return all
}

type weighted interface {
	GetDestination() *networking.Destination
	GetWeight() int32
}

func forward[D weighted](f Forward, destinations []D, yield func(Forward) bool) bool {
	for i, d := range destinations {
		f.index = i
		f.Destination = d.GetDestination()
		f.Active = len(destinations) == 1 || d.GetWeight() > 0
		if !yield(f) {
			return false
		}
	}
	return true
}

// AppliesToMesh reports whether the sidecars of the mesh use the VirtualService.
// A delegate, which has no hosts, is used where others name it.
func AppliesToMesh(vs *networkingv1.VirtualService) bool {
	gateways := vs.Spec.GetGateways()
	return len(vs.Spec.GetHosts()) > 0 && (len(gateways) == 0 || slices.Contains(gateways, Mesh))
}

// namesEgress reports whether sidecars or an egress gateway are among gateways,
// of which none at all means the sidecars or those of the whole VirtualService.
func namesEgress(c *config.Configuration, namespace string, gateways []string) bool {
	return len(gateways) == 0 || slices.ContainsFunc(gateways, func(g string) bool {
		return g == Mesh || isEgressGateway(c, GatewayName(g, namespace))
	})
}

func isEgressGateway(c *config.Configuration, name string) bool {
	return slices.ContainsFunc(c.Mesh.EgressGateways, func(g config.EgressGateway) bool { return g.Gateway == name })
}

// GatewayName returns namespace/name of a gateway that a VirtualService of the
// namespace names in one of four ways: "name", "./name", "namespace/name" or the
// old "name.namespace.svc.cluster.local" (istio.io/istio v1.31,
// pilot/pkg/model/config.go, resolveGatewayName).
func GatewayName(gateway, namespace string) string {
	if gatewayNamespace, name, ok := strings.Cut(gateway, "/"); ok {
		if gatewayNamespace == "." {
			gatewayNamespace = namespace
		}
		return gatewayNamespace + "/" + name
	}
	if name, rest, ok := strings.Cut(gateway, "."); ok {
		if gatewayNamespace, _, ok := strings.Cut(rest, "."); ok {
			return gatewayNamespace + "/" + name
		}
		return rest + "/" + name
	}
	return namespace + "/" + gateway
}

// External reports whether a destination in a VirtualService of the namespace is
// outside the mesh, and returns the ServiceEntry that provides it, if one is
// known. It goes by the name, so that it does not matter which object came
// first; only a name of two labels, such as "reviews.prod", which may be meant
// for a Service and its namespace, needs a ServiceEntry to be external.
func External(c *config.Configuration, mesh analysis.Mesh, namespace string, d *networking.Destination) (*networkingv1.ServiceEntry, bool) {
	h := host.Expand(d.GetHost(), namespace, c.Mesh.ClusterDomain)
	if h == "" || host.Internal(h, &c.Mesh, nil) {
		return nil, false
	}
	se := mesh.ServiceEntry(namespace, h)
	return se, se != nil || host.Labels(h) > 2
}

// RetriesHangingTries reports whether a try that ends by perTryTimeout is retried
// under the conditions. Only then does perTryTimeout do more than to shorten the
// first try (Envoy, source/common/router/retry_state_impl.cc).
func RetriesHangingTries(retryOn string) bool {
	for condition := range strings.SplitSeq(retryOn, ",") {
		switch condition {
		case "5xx", "gateway-error", "reset":
			return true
		}
	}
	return false
}
