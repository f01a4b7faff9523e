// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/test/helm"
)

// TestCertManager: in this mode the server asks cert-manager by each permission that the
// chart grants for it. That it then serves what it gets, and by these permissions, is
// proved with cert-manager's own controllers by the module certmanager.
func TestCertManager(t *testing.T) {
	ports := freePorts(t)
	from := auditLength(t)
	install(t, ports.values(), "--set=certificates.mode=cert-manager")
	_, stderr, err := tryKubectl(t.Context(), "", "get", "secret", "-n", helm.Namespace, "sallyport-certs")
	require.Error(t, err)
	require.Contains(t, stderr, "NotFound", "it will be cert-manager's")
	var pods []*pod
	for _, env := range []string{"KUBE_FEATURE_WatchListClient=true", "KUBE_FEATURE_WatchListClient=false"} {
		p := startPod(t, ports, env)
		pods = append(pods, p)
		eventually(t, func(c *assert.CollectT) {
			out, _, _ := tryKubectl(t.Context(), "", "get", "certificates,issuers", "-n", helm.Namespace, "-l", "app.kubernetes.io/name=sallyport", "-o", "name")
			require.ElementsMatch(c, []string{
				"certificate.cert-manager.io/sallyport-certs", "certificate.cert-manager.io/sallyport-certs-ca",
				"issuer.cert-manager.io/sallyport-certs-ca", "issuer.cert-manager.io/sallyport-certs-selfsigned",
			}, strings.Fields(out))
		})
		if len(pods) == 1 {
			p.stop(t)
		}
	}
	eventually(t, func(c *assert.CollectT) {
		for _, permission := range unused(t, from) {
			require.NotContains(c, permission, "cert-manager.io")
			require.NotContains(c, permission, "secrets")
		}
	})
	// As the notes say.
	mustHelm(t, "uninstall", "sallyport")
	kubectl(t, "", "delete", "issuers,certificates,secrets", "-n", helm.Namespace, "-l", "app.kubernetes.io/name=sallyport")
	require.Empty(t, kubectl(t, "", "get", "issuers,certificates,secrets", "-n", helm.Namespace, "-o", "name"))
}

// TestFiles: a Secret of the operator's is served when it comes, with no right to read any.
func TestFiles(t *testing.T) {
	ports := freePorts(t)
	install(t, ports.values(), "--set=certificates.mode=files,certificates.secretName=mine")
	callLocally(t)
	p := startPod(t, ports)
	source, err := certs.NewInMemory(certs.Options{DNSNames: []string{"sallyport." + helm.Namespace + ".svc"}})
	require.NoError(t, err)
	leaf, err := source.GetCertificate(new(tls.ClientHelloInfo))
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	require.NoError(t, err)
	for name, data := range map[string][]byte{
		"ca.crt":  source.CABundle(),
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), data, 0o600))
	}
	p.waitUntilReady(t)
	refused(t, "must not be a wildcard")
	for _, rule := range granted(t) {
		require.NotContains(t, rule.Resources, "secrets")
	}
	p.stop(t)
}
