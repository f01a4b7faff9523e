// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An issuer is a certificate authority that is not ours.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// chain is what follows the certificates that it issues.
	chain []byte
}

// A keyPair is a certificate with its key, both in PEM.
type keyPair struct{ cert, key []byte }

// newIssuer makes a CA that is valid from an hour before now on, for ten years.
func newIssuer(t *testing.T, name string, now time.Time) *issuer {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(10 * 365 * day),
	}
	key := newKey(t)
	return &issuer{cert: sign(t, template, template, key, key), key: key}
}

// intermediate makes a CA below i.
func (i *issuer) intermediate(t *testing.T, name string) *issuer {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: i.cert.NotBefore, NotAfter: i.cert.NotAfter,
	}
	key := newKey(t)
	cert := sign(t, template, i.cert, key, i.key)
	return &issuer{cert: cert, key: key, chain: inPEM(cert)}
}

// issue makes a server certificate for the names, valid from an hour before now on.
func (i *issuer) issue(t *testing.T, now time.Time, life time.Duration, names ...string) keyPair {
	t.Helper()
	return i.issueFor(t, &x509.Certificate{
		DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

func (i *issuer) issueFor(t *testing.T, template *x509.Certificate) keyPair {
	t.Helper()
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return keyPair{
		cert: append(inPEM(sign(t, template, i.cert, key, i.key)), i.chain...),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
}

func (i *issuer) bundle() []byte { return inPEM(i.cert) }

func inPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	var err error
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert
}
