// SPDX-License-Identifier: Apache-2.0

// Package approval tells which hosts a policy approves.
package approval

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Allowed reports whether hosts.allowed of a policy approves a host on all of the
// ports.
func Allowed(pol *policy.Policy, h string, ports []uint32) bool {
	return isApproved(pol, h, ports, func(*policy.AllowedHost) bool { return true })
}

// Direct reports whether the policy lets a host be reached without the egress
// gateway on all of the ports.
func Direct(pol *policy.Policy, h string, ports []uint32) bool {
	return isApproved(pol, h, ports, func(a *policy.AllowedHost) bool { return a.Direct })
}

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

// Ports returns the port of a destination; if it has none, those of its
// ServiceEntry, of which there may be none.
func Ports(d *networking.Destination, se *networkingv1.ServiceEntry) []uint32 {
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
