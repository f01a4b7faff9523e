// SPDX-License-Identifier: Apache-2.0

package analysistest

import (
	"net/netip"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A recorder is a mesh that notes which kinds were looked up.
type recorder struct {
	mesh analysis.Mesh
	read map[*analysis.Kind]bool
}

// ServiceEntry implements [analysis.Mesh].
func (r *recorder) ServiceEntry(namespace, host string) *networkingv1.ServiceEntry {
	r.read[analysis.ServiceEntry] = true
	return r.mesh.ServiceEntry(namespace, host)
}

// VirtualService implements [analysis.Mesh].
func (r *recorder) VirtualService(namespace, host string) *networkingv1.VirtualService {
	r.read[analysis.VirtualService] = true
	return r.mesh.VirtualService(namespace, host)
}

// DestinationRule implements [analysis.Mesh].
func (r *recorder) DestinationRule(namespace, host, provider string) *networkingv1.DestinationRule {
	r.read[analysis.DestinationRule] = true
	return r.mesh.DestinationRule(namespace, host, provider)
}

// AuthorizationPolicies implements [analysis.Mesh].
func (r *recorder) AuthorizationPolicies(namespace string) []*securityv1.AuthorizationPolicy {
	r.read[analysis.AuthorizationPolicy] = true
	return r.mesh.AuthorizationPolicies(namespace)
}

// Gateways implements [analysis.Mesh].
func (r *recorder) Gateways(labels map[string]string) []*networkingv1.Gateway {
	r.read[analysis.Gateway] = true
	return r.mesh.Gateways(labels)
}

// Object implements [analysis.Mesh].
func (r *recorder) Object(kind *analysis.Kind, namespace, name string) analysis.Object {
	r.read[kind] = true
	return r.mesh.Object(kind, namespace, name)
}

// HostClaims implements [analysis.Mesh].
func (r *recorder) HostClaims(kind *analysis.Kind, obj analysis.Object, host string) (older []analysis.Object, complete bool) {
	r.read[kind] = true
	return r.mesh.HostClaims(kind, obj, host)
}

// PortClaims implements [analysis.Mesh].
func (r *recorder) PortClaims(obj analysis.Object, port uint32) (older []analysis.Object, complete bool) {
	r.read[analysis.ServiceEntry] = true
	return r.mesh.PortClaims(obj, port)
}

// AddressClaims implements [analysis.Mesh].
func (r *recorder) AddressClaims(kind *analysis.Kind, obj analysis.Object, addresses netip.Prefix) (older []analysis.Object, complete bool) {
	r.read[kind] = true
	return r.mesh.AddressClaims(kind, obj, addresses)
}

// Complete implements [analysis.Mesh].
func (r *recorder) Complete(kind *analysis.Kind) bool {
	r.read[kind] = true
	return r.mesh.Complete(kind)
}
