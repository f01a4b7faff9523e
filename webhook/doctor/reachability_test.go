// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhyUnreachable: what API servers say, and where to look.
func TestWhyUnreachable(t *testing.T) {
	for complaint, want := range map[string]string{
		`no endpoints available for service "sallyport"`:                                   "no pod is ready",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority": "the certificate is not trusted",
		"tls: failed to verify certificate: x509: certificate is valid for a, not b":       "the certificate is not trusted",
		"remote error: tls: certificate required":                                          "--client-ca-file",
		"remote error: tls: bad certificate":                                               "--client-ca-file",
		"remote error: tls: internal error":                                                "the server has no certificate yet",
		"context deadline exceeded":                                                        "open the firewall",
		"dial tcp 10.0.0.1:443: connect: connection refused":                               "no server listens there",
		"the server is currently unable to handle the request":                             "not ready or overloaded",
		`service "sallyport" not found`:                                                    "does not exist",
		"EOF":                                                                              "look at the server's log",
	} {
		require.Contains(t, whyUnreachable(complaint), want, complaint)
	}
}
