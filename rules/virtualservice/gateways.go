// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// unknownGateways is why a rule does not judge what applies to a Gateway that it
// cannot look up.
const unknownGateways = "the Gateways of the mesh are not known to tell which pods they select"

// gatewayByService returns the egress gateway whose Service is the destination in
// a VirtualService of the namespace, or nil.
func gatewayByService(cfg *config.Configuration, namespace string, d *networking.Destination) *config.EgressGateway {
	gateways := cfg.Mesh.EgressGateways
	if len(gateways) == 0 {
		return nil
	}
	h := host.Expand(d.GetHost(), namespace, cfg.Mesh.ClusterDomain)
	for i := range gateways {
		if gateways[i].Service == h {
			return &gateways[i]
		}
	}
	return nil
}

// egressGateway returns an egress gateway, of those that accept takes, that serves
// one of the Gateways, or nil. These are named as [route.Gateways] names them: the
// Gateway of the configuration, or another one that selects the same pods. ok is
// false if there may be one, since not all Gateways are known.
func egressGateway(pass *analysis.Pass, names []string, accept func(*config.EgressGateway) bool) (g *config.EgressGateway, ok bool) {
	gateways := pass.Config.Mesh.EgressGateways
	if len(gateways) == 0 {
		return nil, true
	}
	ok = true
	for _, name := range names {
		if name == route.Mesh {
			continue
		}
		selector, exists := selectorOf(pass, name)
		ok = ok && (exists || pass.Mesh.Complete(analysis.Gateway))
		for i := range gateways {
			if g := &gateways[i]; accept(g) && (g.Gateway == name || exists && isSubset(selector, g.Selector)) {
				return g, true
			}
		}
	}
	return nil, ok
}

func anyGateway(*config.EgressGateway) bool { return true }

// selectorOf returns the labels that a Gateway selects. None at all are those of
// every gateway (istio.io/istio v1.31, pilot/pkg/model/push_context.go,
// mergeGateways).
func selectorOf(pass *analysis.Pass, name string) (labels map[string]string, exists bool) {
	namespace, object, _ := strings.Cut(name, "/")
	if gw, _ := pass.Mesh.Object(analysis.Gateway, namespace, object).(*networkingv1.Gateway); gw != nil {
		return gw.Spec.GetSelector(), true
	}
	for i := range pass.Config.Mesh.EgressGateways {
		if g := &pass.Config.Mesh.EgressGateways[i]; g.Gateway == name {
			return g.Selector, true
		}
	}
	return nil, false
}

func isSubset(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
