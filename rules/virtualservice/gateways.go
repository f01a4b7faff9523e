// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	networking "istio.io/api/networking/v1alpha3"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

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
