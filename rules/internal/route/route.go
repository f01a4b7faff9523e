// SPDX-License-Identifier: Apache-2.0

// Package route answers what rules and mutators ask alike about the routes of a
// VirtualService: whom they apply to and where they lead.
package route

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// meshGateway is the reserved name that stands for all sidecars.
const meshGateway = "mesh"

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

// AppliesToMesh reports whether the sidecars of the mesh use the VirtualService.
// A delegate, which has no hosts, is used where others name it.
func AppliesToMesh(vs *networkingv1.VirtualService) bool {
	gateways := vs.Spec.GetGateways()
	return len(vs.Spec.GetHosts()) > 0 && (len(gateways) == 0 || slices.Contains(gateways, meshGateway))
}

// namesEgress reports whether sidecars or an egress gateway are among gateways,
// of which none at all means the sidecars or those of the whole VirtualService.
func namesEgress(c *config.Configuration, namespace string, gateways []string) bool {
	return len(gateways) == 0 || slices.ContainsFunc(gateways, func(g string) bool {
		return g == meshGateway || isEgressGateway(c, GatewayName(g, namespace))
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
