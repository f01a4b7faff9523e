// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// files is a folder with a CA and what it has signed.
type files struct {
	dir string
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

func newFiles(t *testing.T) *files {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f := &files{dir: t.TempDir(), key: key}
	template := f.template("corporate")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	f.ca = template
	f.ca = f.sign(t, "ca.crt", template, key)
	return f
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func (*files) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func (f *files) write(t *testing.T, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(f.path(name), []byte(strings.ReplaceAll(content, "FOLDER", f.dir)), 0o600))
}

// sign writes a certificate for the key.
func (f *files) sign(t *testing.T, name string, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, f.ca, key.Public(), f.key)
	require.NoError(t, err)
	f.write(t, name, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}

// issue writes name.crt and name.key.
func (f *files) issue(t *testing.T, name string, usage x509.ExtKeyUsage, dnsNames ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := f.template(name)
	template.DNSNames, template.ExtKeyUsage = dnsNames, []x509.ExtKeyUsage{usage}
	f.sign(t, name+".crt", template, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	f.write(t, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// What an API server must be told to show a certificate to webhooks.
const (
	admissionConfiguration = `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ValidatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: FOLDER/kubeconfig}
- name: MutatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: FOLDER/kubeconfig}
`
	webhookKubeconfig = `
apiVersion: v1
kind: Config
users:
- name: '*'
  user: {client-certificate: FOLDER/kube-apiserver.crt, client-key: FOLDER/kube-apiserver.key}
`
)

// TestServeFiles (R20): the server has its certificate from files that appear late, injects their CA,
// and answers the API server alone.
func TestServeFiles(t *testing.T) {
	f := newFiles(t)
	f.issue(t, "kube-apiserver", x509.ExtKeyUsageClientAuth)
	f.write(t, "admission.yaml", admissionConfiguration)
	f.write(t, "kubeconfig", webhookKubeconfig)
	plane := cluster.New(t, cluster.Options{APIServerFlags: map[string]string{"admission-control-config-file": f.path("admission.yaml")}})

	f.issue(t, "later", x509.ExtKeyUsageServerAuth, "sallyport.sallyport-system.svc", "localhost")
	time.AfterFunc(time.Second, func() {
		assert.NoError(t, os.Rename(f.path("later.crt"), f.path("server.crt")))
		assert.NoError(t, os.Rename(f.path("later.key"), f.path("server.key")))
	})
	server, err := sallyport.Start(context.WithoutCancel(t.Context()), plane, sallyport.Options{Args: []string{
		"--cert-mode", "files", "--tls-cert-file", f.path("server.crt"), "--tls-private-key-file", f.path("server.key"), "--ca-file", f.path("ca.crt"),
		"--client-ca-file", f.path("ca.crt"), "--client-allowed-names", "kube-apiserver",
	}})
	require.NoError(t, err, "it is asked by the API server")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/validate", http.NoBody)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(f.ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}}}
	_, err = client.Do(req) //nolint:bodyclose // there is no answer
	require.ErrorContains(t, err, "certificate required")
	require.NoError(t, server.Stop())
}
