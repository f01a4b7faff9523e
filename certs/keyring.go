// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
)

// The keys of a keyring.
const (
	caCert   = "ca.crt"
	caKey    = "ca.key"
	leafCert = corev1.TLSCertKey
	leafKey  = corev1.TLSPrivateKeyKey
)

// A keyring holds a CA and a leaf with their keys, in PEM, as they lie in the
// Secret. It may hold anything: what is needed is checked when it is needed.
// Its methods change nothing.
type keyring map[string][]byte

// newKeyring makes a CA and a leaf. Further CAs can be trusted besides.
func newKeyring(names []string, now time.Time, trusted ...*x509.Certificate) (keyring, error) {
	ca, err := issueCA(names, now)
	if err != nil {
		return nil, err
	}
	key, err := pki.EncodePrivateKey(ca.key, cmapi.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	k := keyring{caKey: key}
	return k.withLeaf(ca, names, now, append([]*x509.Certificate{ca.cert}, trusted...))
}

// withLeaf returns the keyring with a new leaf and the given CAs to trust.
func (k keyring) withLeaf(ca *signer, names []string, now time.Time, trusted []*x509.Certificate) (keyring, error) {
	leaf, err := issueLeaf(ca, names, now)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(k)
	if next[leafKey], err = pki.EncodePrivateKey(leaf.key, cmapi.PKCS8); err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	if next[leafCert], err = pki.EncodeX509(leaf.cert); err != nil {
		return nil, fmt.Errorf("encode a certificate: %w", err)
	}
	var bundle bytes.Buffer
	for _, cert := range trusted {
		block, err := pki.EncodeX509(cert)
		if err != nil {
			return nil, fmt.Errorf("encode a CA: %w", err)
		}
		bundle.Write(block)
	}
	next[caCert] = bundle.Bytes()
	return next, nil
}

// bundle returns the CAs that clients shall trust.
func (k keyring) bundle() []byte { return k[caCert] }

// trusted returns the CAs of the bundle that somebody may still need: they are
// such as we make, and not expired.
func (k keyring) trusted(now time.Time) []*x509.Certificate {
	certs, err := pki.DecodeX509CertificateSetBytes(k.bundle())
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(certs, func(c *x509.Certificate) bool { return checkCA(c, now) != nil })
}

// ca returns the CA that signs, or why none can.
func (k keyring) ca(now time.Time) (*signer, error) {
	if len(k) == 0 {
		return nil, errors.New("nothing is stored")
	}
	key, err := pki.DecodePrivateKeyBytes(k[caKey])
	if err != nil {
		return nil, err
	}
	certs, err := pki.DecodeX509CertificateSetBytes(k.bundle())
	if err != nil {
		return nil, err
	}
	for _, cert := range certs {
		if ok, err := pki.PublicKeyMatchesCertificate(key.Public(), cert); err == nil && ok {
			return &signer{cert: cert, key: key}, checkCA(cert, now)
		}
	}
	return nil, errors.New("its key belongs to none of the trusted CAs")
}

// leaf returns the certificate to serve, or why clients would refuse it.
func (k keyring) leaf(names []string, now time.Time) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(k[leafCert], k[leafKey])
	if err != nil {
		return nil, err
	}
	return &cert, k.verify(cert.Leaf, names, now)
}

// verifiable reports whether the leaf can be served.
func (k keyring) verifiable(names []string, now time.Time) bool {
	_, err := k.leaf(names, now)
	return err == nil
}

// verify does what a client does that trusts the bundle.
func (k keyring) verify(leaf *x509.Certificate, names []string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(k.bundle())
	for _, name := range names {
		if _, err := leaf.Verify(x509.VerifyOptions{
			DNSName: name, Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}); err != nil {
			return err
		}
	}
	return nil
}

// check returns why the keyring must be renewed, or nil.
func (k keyring) check(names []string, now time.Time) error {
	ca, err := k.ca(now)
	if err != nil {
		return fmt.Errorf("there is no valid CA: %w", err)
	}
	if due(ca.cert, now) {
		return fmt.Errorf("the CA ends on %s", ca.cert.NotAfter.Format(time.RFC3339))
	}
	leaf, err := k.leaf(names, now)
	if err != nil {
		return fmt.Errorf("there is no valid certificate: %w", err)
	}
	if due(leaf.Leaf, now) {
		return fmt.Errorf("the certificate ends on %s", leaf.Leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// renew returns a keyring that passes check. It keeps the CA if that is good
// enough, and goes on trusting the other CAs.
func (k keyring) renew(names []string, now time.Time) (keyring, error) {
	names = k.withServedNames(names, now)
	if ca, err := k.ca(now); err == nil && !due(ca.cert, now) {
		next, err := k.withLeaf(ca, names, now, k.trusted(now))
		if err != nil {
			return nil, err
		}
		if next.check(names, now) == nil {
			return next, nil
		}
		// The CA was not made for these names.
	}
	return newKeyring(names, now, k.trusted(now)...)
}

// withServedNames adds the names of a leaf that is valid, but not for all names:
// during a rollout that changes the names, another replica needs them, and the two
// would replace each other's certificate for ever. The next renewal drops them.
func (k keyring) withServedNames(names []string, now time.Time) []string {
	if k.verifiable(names, now) {
		return names
	}
	leaf, _ := k.leaf(nil, now)
	if leaf == nil || k.verify(leaf.Leaf, leaf.Leaf.DNSNames, now) != nil {
		return names
	}
	names = append(slices.Clone(names), leaf.Leaf.DNSNames...)
	slices.Sort(names)
	return slices.Compact(names)
}

// due reports whether a third of the certificate's life or less is left.
func due(cert *x509.Certificate, now time.Time) bool {
	life := cert.NotAfter.Sub(cert.NotBefore)
	return !now.Before(cert.NotAfter.Add(-life / 3))
}

func validAt(cert *x509.Certificate, now time.Time) error {
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return x509.CertificateInvalidError{Cert: cert, Reason: x509.Expired, Detail: fmt.Sprintf(
			"valid from %s to %s", cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))}
	}
	return nil
}

// checkCA refuses what is not such a CA as issueCA makes, or not valid now.
func checkCA(cert *x509.Certificate, now time.Time) error {
	if !cert.IsCA || !cert.MaxPathLenZero || len(cert.PermittedDNSDomains) == 0 {
		return errors.New("it is no CA that is limited to the server's names")
	}
	return validAt(cert, now)
}
