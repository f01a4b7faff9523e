// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

// An issued certificate is made by somebody else, who also says which CAs to
// trust.
type issued struct {
	cert *tls.Certificate
	// cas is empty if callers are told otherwise whom to trust.
	cas []*x509.Certificate
}

// parseIssued reads PEM; ca may be empty.
func parseIssued(cert, key, ca []byte) (*issued, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, unusableError{err}
	}
	if len(ca) == 0 {
		return &issued{cert: &pair}, nil
	}
	cas, err := pki.DecodeX509CertificateSetBytes(ca)
	if err != nil {
		return nil, fmt.Errorf("parse the CA: %w", unusableError{err})
	}
	return &issued{cert: &pair, cas: cas}, nil
}

// parseBundle returns what the API server finds in a bundle, which may hold
// anything.
func parseBundle(bundle []byte) []*x509.Certificate {
	var cas []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if ca, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			cas = append(cas, ca)
		}
	}
	return cas
}

// check returns why clients would refuse the certificate.
func (i *issued) check(names []string, times ...time.Time) error {
	roots := i.cas
	if len(roots) == 0 {
		roots = []*x509.Certificate{i.cert.Leaf} // for all the rest that is verified
	}
	return verifyAt(i.cert, poolOf(roots), names, times)
}

// verifyFor does what clients do that call the server by the names and trust
// the roots.
func verifyFor(cert *tls.Certificate, roots *x509.CertPool, names []string, now time.Time) error {
	intermediates := x509.NewCertPool()
	for _, raw := range cert.Certificate[1:] {
		intermediate, err := x509.ParseCertificate(raw)
		if err != nil {
			return fmt.Errorf("parse an intermediate CA: %w", err)
		}
		intermediates.AddCert(intermediate)
	}
	for _, name := range names {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{
			DNSName: name, Roots: roots, Intermediates: intermediates, CurrentTime: now,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}); err != nil {
			return err
		}
	}
	return nil
}

// verifyAt does so with one clock or another.
func verifyAt(cert *tls.Certificate, roots *x509.CertPool, names []string, times []time.Time) (err error) {
	for _, now := range times {
		if err = verifyFor(cert, roots, names, now); err == nil {
			return nil
		}
	}
	return err
}

// An unusableError says why a certificate cannot be served.
type unusableError struct{ error }

func (e unusableError) Unwrap() error { return e.error }

// poolIn returns the CAs of a bundle, which may hold anything.
func poolIn(bundle []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	return pool
}

func poolOf(certs []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return pool
}

// bundleOf returns the CAs in PEM, each once, in an order that depends on
// nothing else: writers that have the same CAs have the same bundle.
func bundleOf(cas []*x509.Certificate) []byte {
	cas = slices.Clone(cas)
	slices.SortFunc(cas, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	cas = slices.CompactFunc(cas, (*x509.Certificate).Equal)
	var bundle bytes.Buffer
	for _, ca := range cas {
		_ = pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}) // a buffer takes everything
	}
	return bundle.Bytes()
}

func life(cert *x509.Certificate) time.Duration { return cert.NotAfter.Sub(cert.NotBefore) }
