// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const head = "apiVersion: config.sallyport.dev/v1alpha1\nkind: Configuration\n"

func TestDefault(t *testing.T) {
	parsed, err := Parse([]byte(head))
	require.NoError(t, err)
	require.Equal(t, Default(), parsed, "an empty file says nothing")
	require.True(t, Default().IsPlatform("istio-egress"))
	require.False(t, Default().IsPlatform("shop"))
	require.Empty(t, Default().Mesh.EgressGateways)
}

func TestParse(t *testing.T) {
	c, err := Parse([]byte(head + `mesh:
  clusterDomain: corp.example
  platformNamespaces: [mesh]
  clusterCIDRs: [10.0.0.0/8, "fd00::/8"]
  egressGateways:
  - name: default
    gateway: mesh/egress
    service: egress.mesh.svc.corp.example
    ports: {tls: 8443}
`))
	require.NoError(t, err)
	require.False(t, c.IsPlatform("istio-system"), "a list replaces the default")
	require.Len(t, c.Mesh.ClusterCIDRs, 2)
	gateway := c.Mesh.EgressGateways[0]
	require.Equal(t, GatewayPorts{HTTP: 80, TLS: 8443}, gateway.Ports)
	require.Equal(t, map[string]string{"istio": "egressgateway"}, gateway.Selector)
	require.Equal(t, "istio-system", c.Mesh.RootNamespace)
}

func TestParseRefuses(t *testing.T) {
	gateway := "egressGateways: [{name: a, gateway: mesh/egress, service: egress.mesh.svc.cluster.local"
	tests := []struct{ name, text, says string }{
		{"no YAML", "[", "did not find"},
		{"another kind", "apiVersion: v1\nkind: ConfigMap\n", "want apiVersion config.sallyport.dev/v1alpha1 and kind Configuration"},
		{"an unknown field", head + "mesh: {clusterCidrs: []}", "unknown field"},
		{"a duplicate field", head + "mesh: {}\nmesh: {}", "already set"},
		{"a data plane", head + "mesh: {dataPlane: ambient}", `mesh.dataPlane: invalid value "ambient": must be 'Sidecar' or 'Ambient'`},
		{"an outbound traffic policy", head + "mesh: {outboundTrafficPolicy: ANY}", "must be 'ALLOW_ANY' or 'REGISTRY_ONLY'"},
		{"a version", head + `mesh: {istioVersion: "one"}`, "must be a version such as '1.31'"},
		{"a domain", head + "mesh: {clusterDomain: Cluster.local.}", "mesh.clusterDomain"},
		{"a range", head + "mesh: {clusterCIDRs: [10.0.0.0]}", "netip.ParsePrefix"},
		{"a suffix", head + "mesh: {internalSuffixes: ['*.corp.example']}", "mesh.internalSuffixes[0]"},
		{"a waypoint", head + "mesh: {waypoints: [waypoint]}", "must be namespace/name"},
		{"a gateway without a namespace", head + "mesh: {egressGateways: [{name: a, gateway: egress, service: egress.mesh.svc.cluster.local}]}", "mesh.egressGateways[0].gateway"},
		{"a short service", head + "mesh: {egressGateways: [{name: a, gateway: mesh/egress, service: egress.mesh}]}", "must be the full name of a Service"},
		{"one name twice", head + "mesh: {" + gateway + "}, {name: a, gateway: mesh/b, service: b.mesh.svc.cluster.local}]}", "mesh.egressGateways[1].name"},
		{"a selector of nothing", head + "mesh: {" + gateway + ", selector: {}}]}", "must name the labels of the gateway pods"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			require.ErrorContains(t, err, tt.says)
		})
	}
}
