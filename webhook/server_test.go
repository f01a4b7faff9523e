// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/certs"
)

// runServer runs a server with a real certificate. It returns a client that
// trusts it, the addresses of reviews and probes, and a function that ends it
// and waits.
func runServer(t *testing.T, opts Options) (client *http.Client, reviews, probes string, stop func() error) {
	t.Helper()
	source, err := certs.NewInMemory(certs.Options{DNSNames: []string{"localhost"}})
	require.NoError(t, err)
	opts.Certificates = source
	opts.OpenMetrics = true
	opts.Probes, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newTestServer(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() error { cancel(); return <-done }
	t.Cleanup(cancel)

	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(source.CABundle()))
	client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}}
	t.Cleanup(client.CloseIdleConnections)
	return client, "https://" + opts.Listener.Addr().String(), "http://" + opts.Probes.Addr().String(), stop
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// TestRun (R12, R19).
func TestRun(t *testing.T) {
	opts := testOptions(t)
	opts.DrainDelay = time.Second
	client, reviews, probes, stop := runServer(t, opts)

	status, body := get(t, client, probes+"/readyz")
	require.Equal(t, http.StatusOK, status, body)
	status, _ = get(t, client, probes+"/healthz")
	require.Equal(t, http.StatusOK, status)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, reviews+ValidatePath, bytes.NewReader(encode(t, newRequest(t, wildcardEntry))))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "HTTP/1.1", res.Proto, "no HTTP/2, and so no rapid reset")
	require.EqualValues(t, tls.VersionTLS13, res.TLS.Version)

	status, body = get(t, client, probes+"/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `sallyport_admission_requests_total{decision="deny",dry_run="false",kind="ServiceEntry",operation="CREATE"} 1`)
	require.Contains(t, body, "sallyport_ready 1")

	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// It says that it is not ready any more, and goes on judging meanwhile.
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, _ := get(t, client, probes+"/readyz")
		assert.Equal(c, http.StatusServiceUnavailable, status)
	}, 5*time.Second, 10*time.Millisecond)
	res2, err := client.Post(reviews+ValidatePath, "application/json", bytes.NewReader(encode(t, newRequest(t, cleanEntry)))) //nolint:noctx // a second request
	require.NoError(t, err)
	require.NoError(t, res2.Body.Close())
	require.Equal(t, http.StatusOK, res2.StatusCode)
	require.True(t, res2.Close, "callers are told to connect anew")
	require.NoError(t, <-ended)
	status, _ = get(t, client, probes+"/readyz")
	require.Zero(t, status, "the port is closed")
}

// TestTLSVersions (R19): TLS 1.3, and 1.2 only for who asks for it.
func TestTLSVersions(t *testing.T) {
	opts := testOptions(t)
	opts.MinTLSVersion = tls.VersionTLS12
	client, reviews, _, stop := runServer(t, opts)
	client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	status, message := get(t, client, reviews+ValidatePath)
	require.Equal(t, http.StatusMethodNotAllowed, status, message)
	require.NoError(t, stop())
}

// TestRunRefusesOldTLS (R19).
func TestRunRefusesOldTLS(t *testing.T) {
	client, reviews, _, stop := runServer(t, testOptions(t))
	client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	_, message := get(t, client, reviews+ValidatePath)
	require.Contains(t, message, "protocol version not supported")
	require.NoError(t, stop())
}

func TestNewNeedsItsOptions(t *testing.T) {
	_, err := New(Options{})
	require.ErrorContains(t, err, "Suite, Certificates and Listener are required")
	opts := testOptions(t)
	opts.Metrics = opts.Listener
	_, err = New(opts)
	require.ErrorContains(t, err, "Metrics needs a MetricsGuard", "else anybody could read them")
}

// TestCallersCloseIdleConnections: a call must not meet a connection that the server is
// closing, so callers close it first. The API server has the default of its transport.
func TestCallersCloseIdleConnections(t *testing.T) {
	require.Greater(t, idleTimeout, http.DefaultTransport.(*http.Transport).IdleConnTimeout)
}
