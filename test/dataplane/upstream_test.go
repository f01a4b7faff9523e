// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpoptions "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"github.com/stretchr/testify/require"
	"istio.io/istio/pilot/test/xdstest"
)

// upstreamTLS returns the TLS context that a proxy opens connections to a cluster
// with, or nil. A choice by the endpoint's labels ends in plaintext: the pods of
// gateways and hosts outside the mesh have none.
func upstreamTLS(t *testing.T, c *cluster.Cluster) *tls.UpstreamTlsContext {
	t.Helper()
	if c.GetTransportSocket().GetName() != "envoy.transport_sockets.tls" {
		return nil
	}
	context := &tls.UpstreamTlsContext{}
	require.NoError(t, c.GetTransportSocket().GetTypedConfig().UnmarshalTo(context))
	return context
}

// speaksHTTP2 reports whether requests that came by HTTP/2 go on by it.
func speaksHTTP2(t *testing.T, c *cluster.Cluster) bool {
	t.Helper()
	extension, ok := c.GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
	if !ok {
		return false
	}
	options := &httpoptions.HttpProtocolOptions{}
	require.NoError(t, extension.UnmarshalTo(options))
	return options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil || options.GetUseDownstreamProtocolConfig() != nil ||
		options.GetAutoConfig() != nil
}

// isDynamic reports whether a cluster looks up whatever host is asked for. It needs
// a filter that does so.
func isDynamic(c *cluster.Cluster) bool {
	return c.GetClusterType().GetName() == "envoy.clusters.dynamic_forward_proxy"
}

func (h *hop) hasDynamicFilter() bool {
	network, http := xdstest.ExtractFilterNames(h.t, h.chain)
	return slices.Contains(http, "envoy.filters.http.dynamic_forward_proxy") ||
		slices.Contains(network, "envoy.filters.network.sni_dynamic_forward_proxy")
}
