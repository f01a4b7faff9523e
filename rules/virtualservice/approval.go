// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// isApproved reports whether allowed hosts of a policy, of those that accept
// takes, approve a host on all of the ports.
func isApproved(pol *policy.Policy, h string, ports []uint32, accept func(*policy.AllowedHost) bool) bool {
	named := false
	rest := slices.Clone(ports)
	for i := range pol.AllowedHosts {
		a := &pol.AllowedHosts[i]
		if !accept(a) || !host.Approves(a.Host, h) {
			continue
		}
		named = true
		if len(a.Ports) == 0 {
			return true
		}
		rest = slices.DeleteFunc(rest, func(number uint32) bool { return slices.Contains(a.Ports, number) })
	}
	return named && len(rest) == 0
}

func anyHost(*policy.AllowedHost) bool { return true }

func isDirect(a *policy.AllowedHost) bool { return a.Direct }

// portsOf returns the port of a destination; if it has none, those of its
// ServiceEntry, of which there may be none.
func portsOf(d *networking.Destination, se *networkingv1.ServiceEntry) []uint32 {
	if number := d.GetPort().GetNumber(); number != 0 {
		return []uint32{number}
	}
	if se == nil {
		return nil
	}
	var ports []uint32
	for _, p := range se.Spec.GetPorts() {
		ports = append(ports, p.GetNumber())
	}
	return ports
}
