// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

// A profile is what certificates are made by.
type profile struct {
	// names are the DNS names of the server.
	names []string
	// caLife and leafLife are for how long certificates are valid.
	caLife, leafLife time.Duration
	// backdating is for clients whose clock is behind.
	backdating time.Duration
}

func newProfile(names []string) profile {
	const day = 24 * time.Hour
	return profile{names: names, caLife: 2 * 365 * day, leafLife: 90 * day, backdating: time.Hour}
}

// A signer is a certificate with its private key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issueCA makes a CA that can sign server certificates for the names.
func (p profile) issueCA(now time.Time) (*signer, error) {
	spec := cmapi.CertificateSpec{
		IsCA:       true,
		CommonName: "sallyport-ca",
		Usages:     []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageCertSign, cmapi.UsageServerAuth},
		NameConstraints: &cmapi.NameConstraints{
			Critical:  true,
			Permitted: &cmapi.NameConstraintItem{DNSDomains: p.names},
			Excluded:  &cmapi.NameConstraintItem{IPRanges: []string{"0.0.0.0/0", "::/0"}},
		},
	}
	return issue(spec, nil, now.Add(-p.backdating), now.Add(p.caLife))
}

// issueLeaf makes a server certificate. It does not check whether the CA may
// sign the names.
func (p profile) issueLeaf(ca *signer, now time.Time) (*signer, error) {
	spec := cmapi.CertificateSpec{
		DNSNames: p.names,
		Usages:   []cmapi.KeyUsage{cmapi.UsageDigitalSignature, cmapi.UsageServerAuth},
	}
	end := now.Add(p.leafLife)
	if ca.cert.NotAfter.Before(end) {
		end = ca.cert.NotAfter
	}
	return issue(spec, ca, now.Add(-p.backdating), end)
}

// issue makes a key and its certificate, signed by the CA or if that is nil by
// itself.
func issue(spec cmapi.CertificateSpec, ca *signer, start, end time.Time) (*signer, error) {
	spec.PrivateKey = &cmapi.CertificatePrivateKey{Algorithm: cmapi.ECDSAKeyAlgorithm, Size: pki.ECCurve256}
	cert := &cmapi.Certificate{Spec: spec}
	key, err := pki.GeneratePrivateKeyForCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	csr, err := pki.GenerateCSR(cert, pki.WithNameConstraints(true))
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	template, err := pki.CertificateTemplateFromCSR(csr,
		pki.CertificateTemplateValidateAndOverrideBasicConstraints(spec.IsCA, pathLength(spec.IsCA)),
		func(_ *x509.CertificateRequest, c *x509.Certificate) error {
			c.NotBefore, c.NotAfter = start, end
			c.SerialNumber, err = serialNumber()
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("make a certificate template: %w", err)
	}
	parent, signingKey := template, key
	if ca != nil {
		parent, signingKey = ca.cert, ca.key
	}
	_, signed, err := pki.SignCertificate(template, parent, key.Public(), signingKey)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return &signer{cert: signed, key: key}, nil
}

// pathLength returns 0 for a CA, which may sign no other CA.
func pathLength(isCA bool) *int {
	if isCA {
		return new(0)
	}
	return nil
}

func serialNumber() (*big.Int, error) {
	const bits = 128
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
}
