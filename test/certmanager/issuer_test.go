// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// An issuer that is there signs, and no CA is made besides.
func TestOwnIssuer(t *testing.T) {
	w := newWorld(t, plane)
	startCertManager(t, plane)
	const corporate = "corporate"
	api := w.certManager.CertmanagerV1()
	_, err := api.Issuers(w.namespace).Create(t.Context(), &cmapi.Issuer{
		ObjectMeta: metav1.ObjectMeta{Name: "root"},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{SelfSigned: &cmapi.SelfSignedIssuer{}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = api.Certificates(w.namespace).Create(t.Context(), &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Name: corporate},
		Spec: cmapi.CertificateSpec{
			IsCA: true, CommonName: corporate, SecretName: corporate, Duration: &metav1.Duration{Duration: 365 * 24 * time.Hour},
			IssuerRef: cmmeta.IssuerReference{Name: "root"},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = api.Issuers(w.namespace).Create(t.Context(), &cmapi.Issuer{
		ObjectMeta: metav1.ObjectMeta{Name: corporate},
		Spec:       cmapi.IssuerSpec{IssuerConfig: cmapi.IssuerConfig{CA: &cmapi.CAIssuer{SecretName: corporate}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	w.opts.Issuer = &cmmeta.IssuerReference{Name: corporate, Kind: cmapi.IssuerKind}
	r := w.start(t, plane.Config)
	w.register(t, balance(t, r))
	w.serve(t, r)
	eventually(t, func(c *assert.CollectT) { assert.NoError(c, w.ask(t.Context())) })
	cert, err := r.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, corporate, cert.Leaf.Issuer.CommonName)
	for _, name := range []string{caName, rootName} {
		_, err = api.Issuers(w.namespace).Get(t.Context(), name, metav1.GetOptions{})
		require.True(t, apierrors.IsNotFound(err), name)
	}
}

// Where there is no cert-manager, that is said, and when it has been installed nobody is
// restarted.
func TestCertManagerIsInstalledLater(t *testing.T) {
	own := cluster.New(t, cluster.Options{})
	w := newWorld(t, own)
	registry := prometheus.NewRegistry()
	w.opts.Registerer = registry
	r := w.start(t, own.Config)
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, r.log.String(), "the API server knows no cert-manager.io/v1: install cert-manager, or choose another mode")
		assert.Positive(c, errorsOf(t, registry, "no_cert_manager"))
	})
	require.False(t, r.Healthy())

	folder, err := crds(t.Context())
	require.NoError(t, err)
	_, err = envtest.InstallCRDs(own.Config, envtest.CRDInstallOptions{Paths: []string{folder}, ErrorIfPathMissing: true})
	require.NoError(t, err)
	startCertManager(t, own)
	w.register(t, balance(t, r))
	w.serve(t, r)
	eventually(t, func(c *assert.CollectT) { assert.NoError(c, w.ask(t.Context())) })
}

// errorsOf returns how many errors of a class were counted.
func errorsOf(t *testing.T, registry *prometheus.Registry, reason string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "sallyport_certificate_errors_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
