// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// serveClients runs a server that has clients of the CA only.
func serveClients(t *testing.T, source Source, clientCA *ClientCA) *httptest.Server {
	t.Helper()
	server := unstarted(source.GetCertificate)
	clientCA.Require(server.TLS)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// client makes a certificate for a client of that name.
func (i *issuer) client(t *testing.T, name string) keyPair {
	t.Helper()
	return i.issueFor(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// call calls the server with the certificate; an empty one is none.
func call(ctx context.Context, server *httptest.Server, source *InMemory, pair keyPair) error {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool(), ServerName: serviceName}
	config.RootCAs.AppendCertsFromPEM(source.CABundle())
	if len(pair.cert) > 0 {
		cert, err := tls.X509KeyPair(pair.cert, pair.key)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, http.NoBody)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

func TestClientCA(t *testing.T) {
	source, err := NewInMemory(Options{DNSNames: names})
	require.NoError(t, err)
	m, ca, stranger := newMount(t), newIssuer(t, "clients", time.Now()), newIssuer(t, "stranger", time.Now())
	_, err = NewClientCA(ClientCAOptions{})
	require.ErrorContains(t, err, "a file is required")
	clientCA, err := NewClientCA(ClientCAOptions{File: m.path("ca.crt"), AllowedNames: []string{"kube-apiserver"}})
	require.NoError(t, err)
	server := serveClients(t, source, clientCA)
	logged := startSource(t, clientCA)
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, logged.String(), "read the client CA: open") })
	require.False(t, clientCA.Ready())
	require.ErrorContains(t, call(t.Context(), server, source, ca.client(t, "kube-apiserver")), "internal error", "nobody is let in")

	m.swap(t, map[string][]byte{"ca.crt": ca.bundle()})
	eventually(t, func(c *assert.CollectT) { assert.True(c, clientCA.Ready()) })
	require.NoError(t, call(t.Context(), server, source, ca.client(t, "kube-apiserver")))
	require.ErrorContains(t, call(t.Context(), server, source, keyPair{}), "certificate required")
	require.ErrorContains(t, call(t.Context(), server, source, ca.client(t, "somebody")), "bad certificate")
	require.Error(t, call(t.Context(), server, source, stranger.client(t, "kube-apiserver")))
	require.ErrorContains(t, call(t.Context(), server, source, ca.issue(t, time.Now(), day, "kube-apiserver")), "bad certificate", "it is a server's")

	m.swap(t, map[string][]byte{"ca.crt": []byte("nothing")})
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, logged.String(), "read the client CA of "+m.path("ca.crt"))
	})
	require.NoError(t, call(t.Context(), server, source, ca.client(t, "kube-apiserver")), "the last good one counts")

	m.swap(t, map[string][]byte{"ca.crt": stranger.bundle()})
	eventually(t, func(c *assert.CollectT) {
		assert.NoError(c, call(t.Context(), server, source, stranger.client(t, "kube-apiserver")))
	})
	require.Error(t, call(t.Context(), server, source, ca.client(t, "kube-apiserver")))
}

// admissionConfiguration makes the API server show a certificate to webhooks.
const admissionConfiguration = `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration:
    apiVersion: apiserver.config.k8s.io/v1
    kind: WebhookAdmissionConfiguration
    kubeConfigFile: FOLDER/kubeconfig
`

const webhookKubeconfig = `
apiVersion: v1
kind: Config
users:
- name: '*'
  user: {client-certificate: FOLDER/tls.crt, client-key: FOLDER/tls.key}
`

// The API server shows a certificate, and calls go on when the client CA and the
// API server's certificate are replaced.
func TestAPIServerShowsACertificate(t *testing.T) {
	dir, m := t.TempDir(), newMount(t)
	write := func(name, content string) {
		content = strings.ReplaceAll(content, "FOLDER", dir)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	ca := newIssuer(t, "clients", time.Now())
	pair := ca.client(t, "kube-apiserver")
	write("tls.crt", string(pair.cert))
	write("tls.key", string(pair.key))
	write("kubeconfig", webhookKubeconfig)
	write("admission.yaml", admissionConfiguration)
	m.swap(t, map[string][]byte{"ca.crt": newIssuer(t, "stranger", time.Now()).bundle()})
	plane := cluster.New(t, cluster.Options{APIServerFlags: map[string]string{"admission-control-config-file": filepath.Join(dir, "admission.yaml")}})

	source, err := NewInMemory(Options{DNSNames: []string{"localhost"}})
	require.NoError(t, err)
	clientCA, err := NewClientCA(ClientCAOptions{File: m.path("ca.crt"), AllowedNames: []string{"kube-apiserver"}})
	require.NoError(t, err)
	startSource(t, clientCA)
	eventually(t, func(c *assert.CollectT) { assert.True(c, clientCA.Ready()) })
	server := serveClients(t, source, clientCA)
	i := &installation{plane: plane, client: clientFor(t, plane.Config), namespace: metav1.NamespaceDefault}
	i.register(t, server, source.CABundle())
	eventually(t, func(c *assert.CollectT) { assert.ErrorContains(c, i.ask(t.Context()), "failed calling webhook") })
	m.swap(t, map[string][]byte{"ca.crt": ca.bundle()})
	eventually(t, func(c *assert.CollectT) { assert.ErrorContains(c, i.ask(t.Context()), verdict) })
}
