// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody has a certificate that is good enough.
type nobody struct{}

// Require implements [ClientCA].
func (nobody) Require(config *tls.Config) {
	config.ClientAuth = tls.RequireAnyClientCert
	config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errors.New("no") }
}

// TestClientCAIsForReviews (R20): a client CA is for reviews; probes are for the kubelet and metrics for scrapers, which
// have no certificate.
func TestClientCAIsForReviews(t *testing.T) {
	opts := testOptions(t)
	opts.ClientCA = nobody{}
	var err error
	opts.Metrics, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	opts.MetricsGuard = func(next http.Handler) http.Handler { return next }
	client, reviews, probes, stop := runServer(t, opts)
	status, body := get(t, client, "https://"+opts.Metrics.Addr().String()+MetricsPath)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, "sallyport_ready")
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		status, body := get(t, client, probes+path)
		require.Equal(t, http.StatusOK, status, body)
	}
	_, problem := get(t, client, reviews+ValidatePath)
	require.Contains(t, problem, "certificate required")
	require.NoError(t, stop())
}
