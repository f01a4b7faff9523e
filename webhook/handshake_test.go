// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each way in which a handshake fails is counted under its reason.
func TestHandshakeErrors(t *testing.T) {
	opts := testOptions(t)
	client, reviews, probes, stop := runServer(t, opts)
	dial := func(config *tls.Config) {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", opts.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		if config == nil {
			_, _ = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
			_, _ = conn.Read(make([]byte, 1)) // until it is closed
			return
		}
		require.Error(t, tls.Client(conn, config).HandshakeContext(t.Context()))
	}
	dial(&tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS13})
	dial(&tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	dial(nil)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, body := get(t, client, probes+"/metrics")
		assert.Contains(c, body, `sallyport_tls_handshake_errors_total{reason="distrusted"} 1`)
		assert.Contains(c, body, `sallyport_tls_handshake_errors_total{reason="protocol"} 2`)
	}, 10*time.Second, 10*time.Millisecond)
	status, _ := get(t, client, reviews+ValidatePath)
	require.Equal(t, http.StatusMethodNotAllowed, status, "it goes on")
	require.NoError(t, stop())
}

func TestHandshakeReason(t *testing.T) {
	m := newMetrics(testOptions(t).Registry)
	log := newErrorLog(m.handshakes, testOptions(t).Log)
	for _, line := range []string{
		"http: TLS handshake error from 10.0.0.1:40000: EOF",
		"http: TLS handshake error from 10.0.0.1:40000: read tcp 10.0.0.2:9443->10.0.0.1:40000: i/o timeout",
		"http: TLS handshake error from 10.0.0.1:40000: certs: there is no certificate yet",
		"http: TLS handshake error from 10.0.0.1:40000: tls: client didn't provide a certificate",
		`http: TLS handshake error from 10.0.0.1:40000: certs: client "eve" is none of the allowed names`,
		"http: TLS handshake error from 10.0.0.1:40000: certs: there is no client CA yet",
		"http: TLS handshake error from 10.0.0.1:40000: something new",
		"http: something else",
	} {
		log.Print(line)
	}
	for reason, want := range map[string]float64{"closed": 1, "timeout": 1, "no_certificate": 1, "client_certificate": 3, "other": 1} {
		require.InDelta(t, want, testutil.ToFloat64(m.handshakes.WithLabelValues(reason)), 0, reason)
	}
}
