// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"slices"
	"strconv"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	protocols "github.com/sallyport-dev/sallyport/rules/internal/port"
)

// A server is one of a Gateway, with the port on which the pods listen for it.
type server struct {
	*networking.Server
	target uint32
}

// serversOf returns the servers of the Gateways that select the pods of the egress
// gateways. Not to be complete, if there are none, is told by ok.
func serversOf(pass *analysis.Pass, g guard) (servers []server, ok bool) {
	for _, gateway := range g.gateways {
		namespace, name := serviceOf(gateway)
		svc, _ := pass.Mesh.Object(analysis.Service, namespace, name).(*corev1.Service)
		for _, gw := range pass.Mesh.Gateways(gateway.Selector) {
			for _, s := range gw.Spec.GetServers() {
				servers = append(servers, server{s, listensOn(svc, s.GetPort().GetNumber())})
			}
		}
	}
	return servers, len(servers) > 0 || pass.Mesh.Complete(analysis.Gateway)
}

// listensOn returns the port of the pods for that of a Gateway: the targetPort, if
// their Service has such a port (istio.io/istio v1.31, pilot/pkg/model/gateway.go,
// resolvePorts).
func listensOn(svc *corev1.Service, number uint32) uint32 {
	if svc != nil {
		for _, p := range svc.Spec.Ports {
			if int64(p.Port) == int64(number) && p.TargetPort.IntVal > 0 {
				return uint32(p.TargetPort.IntVal)
			}
		}
	}
	return number
}

// onPorts returns the servers to which a rule applies, by the ports that its
// operations and conditions name, of which none at all are all ports. They are
// those of the pods; that of the Service is a mistake, but says what is meant.
func onPorts(servers []server, r *security.Rule) []server {
	ports := portsOf(r)
	if len(ports) == 0 {
		return servers
	}
	named := func(number uint32) bool { return slices.Contains(ports, strconv.FormatUint(uint64(number), 10)) }
	return slices.DeleteFunc(slices.Clone(servers), func(s server) bool {
		return !named(s.target) && !named(s.GetPort().GetNumber())
	})
}

func portsOf(r *security.Rule) []string {
	var ports []string
	for _, to := range r.GetTo() {
		ports = append(ports, to.GetOperation().GetPorts()...)
	}
	for _, c := range r.GetWhen() {
		if c.GetKey() == keyDestinationPort {
			ports = append(ports, c.GetValues()...)
		}
	}
	return ports
}

// knowsPeer reports whether a server asks its clients for their certificate of the
// mesh.
func knowsPeer(s server) bool {
	return s.GetTls().GetMode() == networking.ServerTLSSettings_ISTIO_MUTUAL
}

// readsHTTP reports whether a server understands requests, and not connections
// alone.
func readsHTTP(s server) bool {
	switch protocol := protocols.Parse(s.GetPort().GetProtocol()); {
	case protocol.HTTPLike():
		return true
	case protocol == protocols.HTTPS:
		mode := s.GetTls().GetMode()
		return s.GetTls() != nil && mode != networking.ServerTLSSettings_PASSTHROUGH && mode != networking.ServerTLSSettings_AUTO_PASSTHROUGH
	default:
		return false
	}
}
