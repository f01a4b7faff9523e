// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
)

// The keys of a keyring.
const (
	caCert   = "ca.crt"
	caKey    = "ca.key"
	nextKey  = "ca-next.key"
	leafCert = corev1.TLSCertKey
	leafKey  = corev1.TLSPrivateKeyKey
)

// A keyring holds a CA and a leaf with their keys, in PEM, as they lie in the
// Secret. It may hold anything: what is needed is checked when it is needed.
// Its methods change nothing.
type keyring map[string][]byte

// newKeyring makes a CA and a leaf. Further CAs can be trusted besides.
func newKeyring(p profile, now time.Time, trusted ...*x509.Certificate) (keyring, error) {
	ca, err := p.issueCA(now)
	if err != nil {
		return nil, err
	}
	k, err := keyring{}.withKey(caKey, ca)
	if err != nil {
		return nil, err
	}
	return k.withLeaf(ca, p, now, append([]*x509.Certificate{ca.cert}, trusted...))
}

// withKey returns the keyring with the key of a CA.
func (k keyring) withKey(name string, ca *signer) (keyring, error) {
	key, err := pki.EncodePrivateKey(ca.key, cmapi.PKCS8)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	next := maps.Clone(k)
	next[name] = key
	return next, nil
}

// withLeaf returns the keyring with a new leaf and the given CAs to trust.
func (k keyring) withLeaf(ca *signer, p profile, now time.Time, trusted []*x509.Certificate) (keyring, error) {
	leaf, err := p.issueLeaf(ca, now)
	if err != nil {
		return nil, err
	}
	next, err := k.withTrusted(trusted)
	if err != nil {
		return nil, err
	}
	if next[leafKey], err = pki.EncodePrivateKey(leaf.key, cmapi.PKCS8); err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	if next[leafCert], err = pki.EncodeX509(leaf.cert); err != nil {
		return nil, fmt.Errorf("encode a certificate: %w", err)
	}
	return next, nil
}

// withTrusted returns the keyring with the given CAs to trust.
func (k keyring) withTrusted(trusted []*x509.Certificate) (keyring, error) {
	var bundle bytes.Buffer
	for _, cert := range trusted {
		block, err := pki.EncodeX509(cert)
		if err != nil {
			return nil, fmt.Errorf("encode a CA: %w", err)
		}
		bundle.Write(block)
	}
	next := maps.Clone(k)
	next[caCert] = bundle.Bytes()
	return next, nil
}

// bundle returns the CAs that clients shall trust.
func (k keyring) bundle() []byte { return k[caCert] }

// trusted returns the CAs of the bundle that somebody may still need: they are
// such as we make, and not expired.
func (k keyring) trusted(now time.Time) []*x509.Certificate {
	return slices.DeleteFunc(k.authorities(), func(c *x509.Certificate) bool { return checkCA(c, now) != nil })
}

// authorities returns the CAs of the bundle, none if it cannot be read.
func (k keyring) authorities() []*x509.Certificate {
	certs, err := pki.DecodeX509CertificateSetBytes(k.bundle())
	if err != nil {
		return nil
	}
	return certs
}

// ca returns the CA that signs, or why none can.
func (k keyring) ca(now time.Time) (*signer, error) { return k.signer(caKey, now) }

// signer returns the trusted CA with the given key, or why none can sign.
func (k keyring) signer(name string, now time.Time) (*signer, error) {
	if len(k) == 0 {
		return nil, errors.New("nothing is stored")
	}
	key, err := pki.DecodePrivateKeyBytes(k[name])
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

// served returns the leaf if clients accept it under its own names.
func (k keyring) served(now time.Time) *x509.Certificate {
	cert, err := k.leaf(nil, now)
	if err != nil || k.verify(cert.Leaf, cert.Leaf.DNSNames, now) != nil || len(cert.Leaf.DNSNames) == 0 {
		return nil
	}
	return cert.Leaf
}

// widen adds the names that are served, unless a CA is given that does not permit
// them: during a rollout that changes the names, other replicas need them, and
// would otherwise replace each other's certificate for ever. When the certificate
// is renewed, they go.
func (k keyring) widen(p profile, now time.Time, ca *signer) profile {
	served := k.served(now)
	if served == nil {
		return p
	}
	names := append(slices.Clone(p.names), served.DNSNames...)
	slices.Sort(names)
	names = slices.Compact(names)
	if ca != nil && !permits(ca.cert, names) {
		return p
	}
	p.names = names
	return p
}

// permits reports whether the CA may sign for all of the names.
func permits(ca *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(ca.PermittedDNSDomains, func(domain string) bool {
			return name == domain || strings.HasSuffix(name, "."+domain)
		})
	})
}

// lifetimeOf says that a certificate is renewed when a third of its life is left.
// It is up to a tenth of that earlier, by its serial number, so that not all that
// was installed together is renewed together, but all replicas agree.
func lifetimeOf(cert *x509.Certificate) lifetime {
	const jitterBits, tenth = 10, 10
	third := cert.NotAfter.Sub(cert.NotBefore) / 3
	jitter := new(big.Int).And(cert.SerialNumber, big.NewInt(1<<jitterBits-1)).Int64()
	early := third / tenth * time.Duration(jitter) >> jitterBits
	return lifetime{renew: cert.NotAfter.Add(-third - early), end: cert.NotAfter}
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
