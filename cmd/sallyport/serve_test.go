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
		done <- run(ctx, []string{"serve", "--standalone", "--listen", "127.0.0.1:0", "--listen-probes", ""}, nil, &ca, logWriter)
		logWriter.Close()
	}()
	line, err := bufio.NewReader(logs).ReadBytes('\n')
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	var started struct{ Msg, Listen string }
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

	cancel()
	require.Zero(t, <-done)
}
