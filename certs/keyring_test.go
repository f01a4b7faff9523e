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
	k, err := newKeyring(names, now, trusted...)
	require.NoError(t, err)
	return k
}

func mustLeaf(t *testing.T, k keyring) *x509.Certificate {
	t.Helper()
	leaf, err := k.leaf(nil, someDay)
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
	ca, err := issueCA(names, someDay)
	require.NoError(t, err)
	leaf, err := issueLeaf(ca, names, someDay.Add(720*day))
	require.NoError(t, err)
	require.Equal(t, ca.cert.NotAfter, leaf.cert.NotAfter)
}

func TestCASignsOnlyForItsNames(t *testing.T) {
	ca, err := issueCA(names, someDay)
	require.NoError(t, err)
	for name, valid := range map[string]bool{
		serviceName:            true,
		"pod." + serviceName:   true,
		otherName:              false,
		"not-" + serviceName:   false,
		"kubernetes.default":   false,
		"sallyport-system.svc": false,
	} {
		k, err := keyring{}.withLeaf(ca, []string{name}, someDay, []*x509.Certificate{ca.cert})
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

func TestRenew(t *testing.T) {
	good := mustKeyring(t, names, someDay)
	foreign := mustKeyring(t, names, someDay)
	otherNames := mustKeyring(t, []string{otherName}, someDay)
	rootCA := selfMadeCA(t)
	tests := []struct {
		name string
		have keyring
		at   time.Time // by default someDay
		// What is expected; otherwise nothing is renewed.
		newLeaf, newCA bool
		trusted        int // CAs in the bundle afterwards
	}{
		{name: "good", have: good, trusted: 1},
		{name: "just before two thirds of the leaf's life", have: good, at: someDay.Add(59 * day), trusted: 1},
		{name: "after two thirds of the leaf's life", have: good, at: someDay.Add(60 * day), newLeaf: true, trusted: 1},
		{name: "leaf expired", have: good, at: someDay.Add(91 * day), newLeaf: true, trusted: 1},
		{name: "after two thirds of the CA's life", have: good, at: someDay.Add(487 * day), newCA: true, trusted: 2},
		{name: "CA expired", have: good, at: someDay.Add(731 * day), newCA: true, trusted: 1},
		{name: "not valid yet", have: good, at: someDay.Add(-2 * time.Hour), newCA: true, trusted: 1},
		{name: "nothing", have: nil, newCA: true, trusted: 1},
		{name: "garbage", have: keyring{caCert: []byte("a"), caKey: []byte("b"), leafCert: []byte("c"), leafKey: []byte("d")}, newCA: true, trusted: 1},
		{name: "no leaf", have: keyring{caCert: good[caCert], caKey: good[caKey]}, newLeaf: true, trusted: 1},
		{name: "leaf cut off", have: good.with(keyring{leafCert: good[leafCert][:100]}), newLeaf: true, trusted: 1},
		{name: "key of another leaf", have: good.with(keyring{leafKey: foreign[leafKey]}), newLeaf: true, trusted: 1},
		{name: "leaf of another CA", have: good.with(keyring{leafCert: foreign[leafCert], leafKey: foreign[leafKey]}), newLeaf: true, trusted: 1},
		{name: "CA as leaf", have: good.with(keyring{leafCert: good[caCert], leafKey: good[caKey]}), newLeaf: true, trusted: 1},
		{name: "no CA key", have: good.with(keyring{caKey: nil}), newCA: true, trusted: 2},
		{name: "key of another CA", have: good.with(keyring{caKey: foreign[caKey]}), newCA: true, trusted: 2},
		{name: "no CA", have: good.with(keyring{caCert: nil}), newCA: true, trusted: 1},
		{name: "CA without limits", have: rootCA, newCA: true, trusted: 1},
		{name: "names that the CA may not sign", have: otherNames, newCA: true, trusted: 2},
		{name: "two CAs, the second signs", have: good.with(keyring{caCert: append(append([]byte{}, foreign[caCert]...), good[caCert]...)}), trusted: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now := someDay
			if !test.at.IsZero() {
				now = test.at
			}
			before := maps.Clone(test.have)
			if !test.newLeaf && !test.newCA {
				require.NoError(t, test.have.check(names, now))
				require.Len(t, bundled(t, test.have.bundle()), test.trusted)
				return
			}
			require.Error(t, test.have.check(names, now))
			next, err := test.have.renew(names, now)
			require.NoError(t, err)
			require.Equal(t, before, test.have, "what was there is not changed")
			require.NoError(t, next.check(names, now))
			require.Len(t, bundled(t, next.bundle()), test.trusted)
			require.NotEqual(t, test.have[leafCert], next[leafCert])
			require.NotEqual(t, test.have[leafKey], next[leafKey])
			if test.newCA {
				require.NotEqual(t, test.have[caKey], next[caKey])
			} else {
				require.Equal(t, test.have[caKey], next[caKey])
				require.Equal(t, test.have[caCert], next[caCert])
			}
		})
	}
}

// selfMadeCA returns a keyring whose CA may sign for everybody.
func selfMadeCA(t *testing.T) keyring {
	t.Helper()
	ca, err := issueCA(names, someDay)
	require.NoError(t, err)
	template := *ca.cert
	template.PermittedDNSDomains, template.ExcludedIPRanges = nil, nil
	template.ExtraExtensions = nil
	_, ca.cert, err = pki.SignCertificate(&template, &template, ca.key.Public(), ca.key)
	require.NoError(t, err)
	require.Empty(t, ca.cert.PermittedDNSDomains)
	key, err := pki.EncodePrivateKey(ca.key, "")
	require.NoError(t, err)
	k, err := keyring{caKey: key}.withLeaf(ca, names, someDay, []*x509.Certificate{ca.cert})
	require.NoError(t, err)
	_, err = k.leaf(names, someDay)
	require.NoError(t, err)
	return k
}

// Old CAs are dropped when they end, and the bundle does not grow for ever.
func TestRenewForYears(t *testing.T) {
	k := mustKeyring(t, names, someDay)
	cas := map[string]bool{}
	for now := someDay; now.Before(someDay.Add(20 * 365 * day)); now = now.Add(5 * day) {
		if k.check(names, now) != nil {
			before := mustLeaf(t, k)
			next, err := k.renew(names, now)
			require.NoError(t, err)
			require.NoError(t, next.verify(before, names, now), "who trusts the new bundle must trust the old leaf")
			k = next
		}
		require.NoError(t, k.check(names, now))
		require.LessOrEqual(t, len(bundled(t, k.bundle())), 2)
		cas[string(k[caKey])] = true
	}
	require.Len(t, cas, 15, "20 years by CAs of 490 days")
}

// While replicas want different names, they must not replace each other's
// certificate for ever; afterwards the old names go.
func TestRenewForOtherNames(t *testing.T) {
	k := mustKeyring(t, names, someDay)
	others := []string{otherName}
	k, err := k.renew(others, someDay)
	require.NoError(t, err)
	require.NoError(t, k.check(names, someDay))
	require.NoError(t, k.check(others, someDay))
	require.ElementsMatch(t, []string{serviceName, otherName}, mustLeaf(t, k).DNSNames)

	k, err = k.renew(others, someDay.Add(60*day))
	require.NoError(t, err)
	require.Equal(t, others, mustLeaf(t, k).DNSNames)
}
