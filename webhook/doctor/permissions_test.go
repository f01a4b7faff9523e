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

// TestQuestions: it is asked for every object that a grant names.
func TestQuestions(t *testing.T) {
	asked := map[string]bool{}
	for _, g := range Grants(certs.ModeCertManager, "sallyport", "sallyport-certs") {
		for _, q := range questions(&Options{Namespace: "sallyport-system"}, &g) {
			require.Equal(t, g.Namespaced, q.Namespace != "", q)
			asked[describe(&q, &g)] = true
		}
	}
	for _, what := range []string{
		"patch egresspolicies/status", "watch secrets", "create issuers",
		"patch issuers sallyport-certs-selfsigned", "get certificates sallyport-certs-ca", "patch certificates sallyport-certs",
	} {
		require.True(t, asked[what], what)
	}
}
