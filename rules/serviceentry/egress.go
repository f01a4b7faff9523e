// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// A reach says where a ServiceEntry leads. The greater of two is that of both
// together.
type reach int

const (
	inside  reach = iota // only to the mesh's own hosts and addresses
	unclear              // that hangs on addresses, and no clusterCIDRs are configured
	outside              // out of the mesh, at least in part
)

// unclearReason is why a rule does not judge a ServiceEntry of unclear reach.
const unclearReason = "no clusterCIDRs are configured to tell whether the addresses are inside the mesh"

// egress tells where a ServiceEntry leads. That its location is MESH_INTERNAL
// counts only as far as its hosts and addresses bear it out.
func egress(cfg *config.Configuration, se *networkingv1.ServiceEntry) reach {
	mesh := &cfg.Mesh
	if se.Spec.GetLocation() != networking.ServiceEntry_MESH_INTERNAL {
		return outside
	}
	result := inside
	for _, h := range se.Spec.GetHosts() {
		result = max(result, hostReach(mesh, h))
	}
	for _, e := range se.Spec.GetEndpoints() {
		switch address := e.GetAddress(); {
		case address == "", strings.HasPrefix(address, "unix:"):
			// Behind another network's gateway, or in the client's own pod.
		default:
			if p, ok := cidr.Parse(address); ok {
				result = max(result, rangeReach(mesh, p))
			} else {
				result = max(result, hostReach(mesh, address))
			}
		}
	}
	for _, address := range se.Spec.GetAddresses() {
		// istiod ignores what is no address.
		if p, ok := cidr.Parse(address); ok {
			result = max(result, rangeReach(mesh, p))
		}
	}
	return result
}

func hostReach(mesh *config.Mesh, h string) reach {
	if host.Internal(host.Normal(h), mesh, nil) {
		return inside
	}
	return outside
}

func rangeReach(mesh *config.Mesh, p netip.Prefix) reach {
	switch {
	case len(mesh.ClusterCIDRs) == 0:
		return unclear
	case cidr.In(mesh.ClusterCIDRs, p):
		return inside
	default:
		return outside
	}
}

// An openPort is a port number that a ServiceEntry opens, and where it says so
// first.
type openPort struct {
	number uint32
	path   *field.Path
}

// ports returns the port numbers that a ServiceEntry opens, each once: those that
// clients connect to and those that the proxies connect to.
func ports(se *networkingv1.ServiceEntry) []openPort {
	spec := specPath
	var open []openPort
	seen := map[uint32]bool{}
	add := func(number uint32, path func() *field.Path) {
		if number != 0 && !seen[number] {
			seen[number] = true
			open = append(open, openPort{number, path()})
		}
	}
	for i, p := range se.Spec.GetPorts() {
		add(p.GetNumber(), func() *field.Path { return spec.Child("ports").Index(i).Child("number") })
		add(p.GetTargetPort(), func() *field.Path { return spec.Child("ports").Index(i).Child("targetPort") })
	}
	for i, e := range se.Spec.GetEndpoints() {
		for _, name := range slices.Sorted(maps.Keys(e.GetPorts())) {
			add(e.GetPorts()[name], func() *field.Path { return spec.Child("endpoints").Index(i).Child("ports").Key(name) })
		}
	}
	return open
}
