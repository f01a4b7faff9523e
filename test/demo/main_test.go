// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemo runs the demo as "DEMO=once make demo" does: every sample must be
// treated as its comment says.
func TestDemo(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, true), out.String())
	for _, line := range []string{
		"  admitted  ServiceEntry shop/weather\n",
		"  refused  ServiceEntry shop/weather-all\n",
		"(serviceentry/wildcard-host)",
		"  admitted  VirtualService shop/payments-provider\n",
		"  admitted and completed  VirtualService shop/exchange-rates\n",
		"      +  timeout: 15s\n",
		"      +  name: sallyport-mesh-80\n",
		"must not be led through the egress gateway 'default' by two namespaces",
	} {
		require.Contains(t, out.String(), line)
	}
	require.NotContains(t, out.String(), "\x1b[", "colours are for terminals")
}
