// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/metadata"
)

var metadataAddress = &analysis.Rule{
	Name:     "serviceentry/metadata-address",
	Severity: analysis.Error,
	Doc: `service entries must not lead to the cloud's metadata service

Every machine of a cloud can ask a local address for metadata, among it the
credentials of the machine or of the workload. A service entry for that address
lets workloads ask through a proxy, or through the egress gateway with the
credentials of the gateway's own machine.

The rule looks at hosts, addresses and endpoints, however an address is
written, also as translated by NAT64: link-local addresses (169.254.0.0/16,
fe80::/10), fd00:ec2::254 and fd00:ec2::23 (AWS), fd20:ce::254 (Google Cloud),
fd00:42::42 (Scaleway), 100.100.100.200 (Alibaba Cloud), 168.63.129.16 (Azure),
192.0.0.192 (Oracle Cloud), the names metadata.google.internal, metadata.goog,
metadata, instance-data, instance-data.ec2.internal and metadata.tencentyun.com,
and the domains nip.io, sslip.io, xip.io, localtest.me and lvh.me, whose names
stand for arbitrary or loopback addresses. A range or wildcard that covers one of
them counts too. A private domain with such an address in DNS cannot be told by
its name: block the addresses in the network as well.

Agents that need metadata run in a namespace that the platform team lists in
mesh.metadataNamespaces of Sallyport's configuration.`,
	Run: analysis.On(checkMetadataAddress),
}

func checkMetadataAddress(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if slices.Contains(pass.Config.Mesh.MetadataNamespaces, se.GetNamespace()) {
		return
	}
	for i, h := range se.Spec.GetHosts() {
		if target, found := metadata.Find(h); found {
			reportMetadata(pass, hostsPath.Index(i), h, target)
		}
	}
	for i, a := range se.Spec.GetAddresses() {
		if target, found := metadata.Find(a); found {
			reportMetadata(pass, addressesPath.Index(i), a, target)
		}
	}
	for i, e := range se.Spec.GetEndpoints() {
		if target, found := metadata.Find(e.GetAddress()); found {
			reportMetadata(pass, endpointsPath.Index(i).Child("address"), e.GetAddress(), target)
		}
	}
}

func reportMetadata(pass *analysis.Pass, path *field.Path, value string, target metadata.Target) {
	detail := "must not lead to the cloud's metadata service ('%s'), which hands out credentials; remove it, or have this namespace listed in `metadataNamespaces`"
	switch {
	case target.Echo:
		detail = "must not be a name below '%s', which stands for an arbitrary address; use the destination's own host name"
	case target.Wide:
		detail = "must not cover the cloud's metadata service ('%s'), which hands out credentials; narrow it down to the destinations that are needed"
	}
	pass.Report(field.Invalid(path, value, fmt.Sprintf(detail, target.Name)))
}
