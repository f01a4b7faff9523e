// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/certs"
)

// TestGrants (R22): the list is short, and has no way to what is others'.
func TestGrants(t *testing.T) {
	for _, g := range slices.Concat(
		Grants(certs.ModeSelf, "sallyport", "sallyport-certs"), Grants(certs.ModeCertManager, "sallyport", "sallyport-certs"), Grants(certs.ModeFiles, "sallyport", ""),
	) {
		require.NotEmpty(t, g.Without, g.Rule)
		for _, values := range [][]string{g.Rule.APIGroups, g.Rule.Resources, g.Rule.Verbs} {
			require.NotEmpty(t, values)
			require.NotContains(t, values, "*", g.Rule)
		}
		for _, resource := range g.Rule.Resources {
			switch resource {
			case "secrets", "leases":
				require.True(t, g.Namespaced, resource)
			case "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings":
				require.Len(t, g.Rule.ResourceNames, 1, resource)
			case "pods", "configmaps", "clusterroles":
				require.Fail(t, "nobody needs "+resource)
			}
		}
	}
}
