// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
)

// TestServeStandalone: the server needs no cluster, prints the CA that it is to
// be trusted by, and ends when it is told to.
func TestServeStandalone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var ca bytes.Buffer
	logs, logWriter := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--standalone", "--listen", "127.0.0.1:0", "--listen-probes", "127.0.0.1:0"}, nil, &ca, logWriter)
		logWriter.Close()
	}()
	line, err := bufio.NewReader(logs).ReadBytes('\n')
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	var started struct{ Msg, Listen, Probes, Metrics string }
	require.NoError(t, json.Unmarshal(line, &started))
	require.Equal(t, "Started", started.Msg, string(line))

	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca.Bytes()), ca.String())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13}}}
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","operation":"CREATE","namespace":"shop",` +
		`"kind":{"group":"networking.istio.io","version":"v1","kind":"ServiceEntry"},` +
		`"object":{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"all"},"spec":{"hosts":["*.example.com"]}}}}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+started.Listen+"/validate", bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	var answer admissionv1.AdmissionReview
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	require.False(t, answer.Response.Allowed)
	require.Contains(t, answer.Response.Result.Message, "serviceentry/wildcard-host")

	require.Empty(t, started.Metrics, "nobody is there to say who may ask")
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+started.Probes+"/metrics", http.NoBody)
	require.NoError(t, err)
	metrics, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer metrics.Body.Close()
	text, err := io.ReadAll(metrics.Body)
	require.NoError(t, err)
	require.Contains(t, string(text), `sallyport_admission_requests_total{decision="deny",dry_run="false",kind="ServiceEntry",operation="CREATE"} 1`)
	require.Contains(t, string(text), `sallyport_build_info{goversion="`+runtime.Version()+`",version="`+buildVersion()+`"} 1`)

	cancel()
	require.Zero(t, <-done)
}

// TestServeStandaloneIsLocal: without a cluster nothing listens to the network unless
// it is told to, and a port for scrapers has nobody who could say who they are.
func TestServeStandaloneIsLocal(t *testing.T) {
	f := &serveFlags{}
	flags := newServe().Flags()
	require.NoError(t, f.setStandalone(flags))
	require.Equal(t, "localhost:8081", f.probes)
	require.Empty(t, f.metrics)
}
