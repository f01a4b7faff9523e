// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"maps"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/require"
)

const (
	serviceName = "sallyport.sallyport-system.svc"
	otherName   = "sallyport.example.com"
)

var (
	names   = []string{serviceName}
	someDay = time.Date(2026, time.May, 1, 12, 0, 0, 0, time.UTC)
)

const day = 24 * time.Hour

func mustKeyring(t *testing.T, names []string, now time.Time, trusted ...*x509.Certificate) keyring {
	t.Helper()
	k, err := newKeyring(newProfile(names), now, trusted...)
	require.NoError(t, err)
	return k
}

func mustLeaf(t *testing.T, k keyring) *x509.Certificate {
	t.Helper()
	leaf, err := k.leaf(nil, someDay)
	require.NoError(t, err)
	return leaf.Leaf
}

func mustLeafAt(t *testing.T, r rotation, now time.Time) *x509.Certificate {
	t.Helper()
	leaf, err := r.keys.leaf(nil, now)
	require.NoError(t, err)
	return leaf.Leaf
}

// bundled returns the CAs of the bundle.
func bundled(t *testing.T, bundle []byte) []*x509.Certificate {
	t.Helper()
	certs, err := pki.DecodeX509CertificateSetBytes(bundle)
	require.NoError(t, err)
	return certs
}

func TestIssued(t *testing.T) {
	k := mustKeyring(t, []string{serviceName, "localhost"}, someDay)
	ca, err := k.ca(someDay)
	require.NoError(t, err)
	leaf := mustLeaf(t, k)

	for _, cert := range []*x509.Certificate{ca.cert, leaf} {
		key, ok := cert.PublicKey.(*ecdsa.PublicKey)
		require.True(t, ok)
		require.Equal(t, elliptic.P256(), key.Curve)
		require.Equal(t, someDay.Add(-time.Hour), cert.NotBefore)
		require.Greater(t, cert.SerialNumber.BitLen(), 96, "random 128 bits")
		require.LessOrEqual(t, cert.SerialNumber.BitLen(), 128)
		require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, cert.ExtKeyUsage)
	}
	require.NotEqual(t, ca.cert.SerialNumber, leaf.SerialNumber)

	require.True(t, ca.cert.IsCA)
	require.True(t, ca.cert.MaxPathLenZero)
	require.True(t, ca.cert.PermittedDNSDomainsCritical)
	require.Equal(t, []string{serviceName, "localhost"}, ca.cert.PermittedDNSDomains)
	require.Len(t, ca.cert.ExcludedIPRanges, 2)
	require.Equal(t, someDay.Add(730*day), ca.cert.NotAfter)
	require.Equal(t, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign, ca.cert.KeyUsage)

	require.False(t, leaf.IsCA)
	require.True(t, leaf.BasicConstraintsValid)
	require.Equal(t, []string{serviceName, "localhost"}, leaf.DNSNames)
	require.Equal(t, someDay.Add(90*day), leaf.NotAfter)
	require.Equal(t, x509.KeyUsageDigitalSignature, leaf.KeyUsage)
}

func TestLeafNeverOutlivesCA(t *testing.T) {
	ca, err := newProfile(names).issueCA(someDay)
	require.NoError(t, err)
	leaf, err := newProfile(names).issueLeaf(ca, someDay.Add(720*day))
	require.NoError(t, err)
	require.Equal(t, ca.cert.NotAfter, leaf.cert.NotAfter)
}

func TestCASignsOnlyForItsNames(t *testing.T) {
	ca, err := newProfile(names).issueCA(someDay)
	require.NoError(t, err)
	for name, valid := range map[string]bool{
		serviceName:            true,
		"pod." + serviceName:   true,
		otherName:              false,
		"not-" + serviceName:   false,
		"kubernetes.default":   false,
		"sallyport-system.svc": false,
	} {
		k, err := keyring{}.withLeaf(ca, newProfile([]string{name}), someDay, []*x509.Certificate{ca.cert})
		require.NoError(t, err)
		_, err = k.leaf([]string{name}, someDay)
		require.Equal(t, valid, err == nil, "%s: %v", name, err)
	}
}

// with returns a copy of the keyring with some data replaced.
func (k keyring) with(data keyring) keyring {
	changed := maps.Clone(k)
	maps.Copy(changed, data)
	return changed
}

// selfMadeCA returns a keyring whose CA may sign for everybody.
func selfMadeCA(t *testing.T) keyring {
	t.Helper()
	ca, err := newProfile(names).issueCA(someDay)
	require.NoError(t, err)
	template := *ca.cert
	template.PermittedDNSDomains, template.ExcludedIPRanges = nil, nil
	template.ExtraExtensions = nil
	_, ca.cert, err = pki.SignCertificate(&template, &template, ca.key.Public(), ca.key)
	require.NoError(t, err)
	require.Empty(t, ca.cert.PermittedDNSDomains)
	key, err := pki.EncodePrivateKey(ca.key, "")
	require.NoError(t, err)
	k, err := keyring{caKey: key}.withLeaf(ca, newProfile(names), someDay, []*x509.Certificate{ca.cert})
	require.NoError(t, err)
	_, err = k.leaf(names, someDay)
	require.NoError(t, err)
	return k
}
