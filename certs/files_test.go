// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
)

// A mount is a folder in which the kubelet has mounted a Secret.
type mount struct {
	dir      string
	versions int
}

func newMount(t *testing.T) *mount {
	t.Helper()
	return &mount{dir: t.TempDir()}
}

func (m *mount) path(name string) string { return filepath.Join(m.dir, name) }

// swap puts another Secret there, as the kubelet does: all files at once, by
// replacing the link ..data.
func (m *mount) swap(t *testing.T, data map[string][]byte) {
	t.Helper()
	m.versions++
	version := fmt.Sprintf("..version-%d", m.versions)
	require.NoError(t, os.Mkdir(m.path(version), 0o700))
	for name, content := range data {
		require.NoError(t, os.WriteFile(m.path(filepath.Join(version, name)), content, 0o600))
	}
	old, _ := os.Readlink(m.path("..data")) // there is none at first
	require.NoError(t, os.Symlink(version, m.path("..data_tmp")))
	require.NoError(t, os.Rename(m.path("..data_tmp"), m.path("..data")))
	for name := range data {
		if _, err := os.Lstat(m.path(name)); err != nil {
			require.NoError(t, os.Symlink(filepath.Join("..data", name), m.path(name)))
		}
	}
	if old != "" {
		require.NoError(t, os.RemoveAll(m.path(old)))
	}
}

func (m *mount) swapPair(t *testing.T, pair keyPair) {
	t.Helper()
	m.swap(t, map[string][]byte{corev1.TLSCertKey: pair.cert, corev1.TLSPrivateKeyKey: pair.key})
}

func (m *mount) options() FilesOptions {
	return FilesOptions{Options: Options{DNSNames: names}, CertFile: m.path(corev1.TLSCertKey), KeyFile: m.path(corev1.TLSPrivateKeyKey)}
}

// startSource runs the source until the test ends.
func startSource(t *testing.T, source interface{ Start(context.Context) error }) *logRecord {
	t.Helper()
	log := new(logRecord)
	ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), log.logger()))
	ended := make(chan error, 1)
	go func() { ended <- source.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
		assert.NotContains(t, log.String(), "PRIVATE KEY")
		if t.Failed() {
			t.Log(log)
		}
	})
	return log
}

func newFiles(t *testing.T, opts FilesOptions) *Files {
	t.Helper()
	files, err := NewFiles(nil, opts)
	require.NoError(t, err)
	return files
}

// serves waits until the source serves the certificate.
func serves(t *testing.T, source Source, pair keyPair) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) { assert.True(c, isServed(source, pair)) })
}

func isServed(source Source, pair keyPair) bool {
	cert, err := source.GetCertificate(nil)
	return err == nil && string(inPEM(cert.Leaf)) == string(pair.cert[:len(inPEM(cert.Leaf))])
}

func TestFilesOptions(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*FilesOptions)
		problem string
	}{
		{"no name", func(o *FilesOptions) { o.DNSNames = nil }, "a DNS name is required"},
		{"no key", func(o *FilesOptions) { o.KeyFile = "" }, "the files of a certificate and of its key are required"},
		{"no certificate", func(o *FilesOptions) { o.CertFile = "" }, "the files of a certificate and of its key are required"},
		{"no client", func(o *FilesOptions) { o.MutatingConfiguration = "sallyport" }, "a client is required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			opts := newMount(t).options()
			test.change(&opts)
			_, err := NewFiles(nil, opts)
			require.ErrorContains(t, err, test.problem)
		})
	}
}

// A Secret is mounted after the start, and replaced as the kubelet does it.
func TestFilesAppearAndChange(t *testing.T) {
	ca, m := newIssuer(t, "corporate", time.Now()), newMount(t)
	m.dir = filepath.Join(m.dir, "later")
	files := newFiles(t, m.options())
	log := startSource(t, files)
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, log.String(), "no such file or directory") })
	require.False(t, files.Healthy())
	_, err := files.GetCertificate(nil)
	require.ErrorIs(t, err, errNoCertificate)

	require.NoError(t, os.Mkdir(m.dir, 0o700))
	for range 5 {
		pair := ca.issue(t, time.Now(), 90*day, names...)
		m.swapPair(t, pair)
		serves(t, files, pair)
		require.True(t, files.Healthy())
		require.NoError(t, handshake(t.Context(), files, ca.bundle(), serviceName, time.Now()))
	}
}

// Where folders cannot be watched, the files are polled.
func TestFilesArePolled(t *testing.T) {
	ca, m := newIssuer(t, "corporate", time.Now()), newMount(t)
	clock := clocktesting.NewFakeClock(time.Now())
	opts := m.options()
	opts.Clock = clock
	link := t.TempDir() // what the files in it link to is in another folder
	opts.CertFile, opts.KeyFile = filepath.Join(link, "cert"), filepath.Join(link, "key")
	require.NoError(t, os.Symlink(m.path("cert"), opts.CertFile))
	require.NoError(t, os.Symlink(m.path("key"), opts.KeyFile))
	write := func() keyPair {
		pair := ca.issue(t, time.Now(), 90*day, names...)
		require.NoError(t, os.WriteFile(m.path("cert"), pair.cert, 0o600))
		require.NoError(t, os.WriteFile(m.path("key"), pair.key, 0o600))
		return pair
	}
	first := write()
	files := newFiles(t, opts)
	startSource(t, files)
	serves(t, files, first)

	second := write()
	require.True(t, isServed(files, first))
	clock.Step(pollPeriod)
	serves(t, files, second)
}

// What cannot be served does not replace what can.
func TestFilesKeepTheLastGoodCertificate(t *testing.T) {
	now := time.Now()
	ca, stranger := newIssuer(t, "corporate", now), newIssuer(t, "stranger", now)
	other := ca.issue(t, now, 90*day, names...)
	tests := []struct {
		name    string
		data    map[string][]byte
		problem string
	}{
		{"nothing", map[string][]byte{}, "no such file"},
		{"empty files", map[string][]byte{"tls.crt": {}, "tls.key": {}, "ca.crt": ca.bundle()}, "failed to find any PEM data"},
		{"a new certificate with the old key", map[string][]byte{"tls.crt": other.cert, "ca.crt": ca.bundle()}, "private key does not match public key"},
		{"no certificate", map[string][]byte{"tls.crt": []byte("secret"), "tls.key": other.key, "ca.crt": ca.bundle()}, "failed to find any PEM data"},
		{"half a certificate", map[string][]byte{"tls.crt": other.cert[:len(other.cert)/2], "tls.key": other.key, "ca.crt": ca.bundle()}, "failed to find any PEM data"},
		{"an expired certificate", pairWith(ca.issue(t, now.Add(-90*day), day, names...), ca), "certificate has expired or is not yet valid"},
		{"one for later", pairWith(ca.issue(t, now.Add(day), day, names...), ca), "certificate has expired or is not yet valid"},
		{"another name", pairWith(ca.issue(t, now, day, otherName), ca), "not " + serviceName},
		{"one for clients", pairWith(ca.issueFor(t, &x509.Certificate{
			DNSNames: names, NotBefore: now.Add(-day), NotAfter: now.Add(day), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}), ca), "incompatible key usage"},
		{"of another CA", pairWith(other, stranger), "unknown authority"},
		{"without a CA", map[string][]byte{"tls.crt": other.cert, "tls.key": other.key, "ca.crt": {}}, "is empty"},
		{"with the key instead of the CA", map[string][]byte{"tls.crt": other.cert, "tls.key": other.key, "ca.crt": other.key}, "parse the CA"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, first := newMount(t), ca.issue(t, now, 90*day, names...)
			m.swap(t, pairWith(first, ca))
			opts := m.options()
			opts.CAFile = m.path("ca.crt")
			files := newFiles(t, opts)
			log := startSource(t, files)
			serves(t, files, first)

			if test.data["tls.key"] == nil && len(test.data) > 0 {
				test.data["tls.key"] = first.key
			}
			m.swap(t, test.data)
			eventually(t, func(c *assert.CollectT) { assert.Contains(c, log.String(), test.problem) })
			require.True(t, isServed(files, first))
			require.True(t, files.Healthy())

			last := ca.issue(t, now, 90*day, names...)
			m.swap(t, pairWith(last, ca))
			serves(t, files, last)
		})
	}
}

func pairWith(pair keyPair, ca *issuer) map[string][]byte {
	return map[string][]byte{"tls.crt": pair.cert, "tls.key": pair.key, "ca.crt": ca.bundle()}
}

// While somebody writes one file after the other, without a pause, no certificate
// is served that does not fit, and callers do not notice.
func TestFilesAreTornByTheirWriter(t *testing.T) {
	ca, m := newIssuer(t, "corporate", time.Now()), newMount(t)
	pair := ca.issue(t, time.Now(), 90*day, names...)
	write := func(pair keyPair) {
		for name, content := range map[string][]byte{corev1.TLSCertKey: pair.cert, corev1.TLSPrivateKeyKey: pair.key} {
			file, err := os.Create(m.path(name))
			require.NoError(t, err)
			_, err = file.Write(content[:len(content)/2])
			require.NoError(t, err)
			time.Sleep(pause)
			_, err = file.Write(content[len(content)/2:])
			require.NoError(t, err)
			require.NoError(t, file.Close())
		}
	}
	write(pair)
	files := newFiles(t, m.options())
	log := startSource(t, files)
	serves(t, files, pair)
	for range 20 {
		pair = ca.issue(t, time.Now(), 90*day, names...)
		write(pair)
		require.NoError(t, handshake(t.Context(), files, ca.bundle(), serviceName, time.Now()))
		require.True(t, files.Healthy())
	}
	serves(t, files, pair)
	require.Contains(t, log.String(), "Could not keep certificates up to date")
}

// A certificate whose time is over goes on being served, for want of a better
// one, and is said to be bad.
func TestFilesExpire(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	ca, m := newIssuer(t, "corporate", clock.Now()), newMount(t)
	opts := m.options()
	opts.Clock = clock
	pair := ca.issue(t, clock.Now(), day, names...)
	m.swapPair(t, pair)
	files := newFiles(t, opts)
	log := startSource(t, files)
	serves(t, files, pair)
	require.True(t, files.Healthy())

	clock.Step(day + time.Second)
	require.False(t, files.Healthy())
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, log.String(), "certificate has expired") })
	require.True(t, isServed(files, pair))

	next := ca.issue(t, clock.Now(), day, names...)
	m.swapPair(t, next)
	serves(t, files, next)
	require.True(t, files.Healthy())
	require.Equal(t, 2, strings.Count(log.String(), "Changed certificate"))
}

// Intermediate CAs follow the certificate.
func TestFilesHoldAChain(t *testing.T) {
	root, m := newIssuer(t, "corporate", time.Now()), newMount(t)
	pair := root.intermediate(t, "department").issue(t, time.Now(), 90*day, names...)
	m.swap(t, pairWith(pair, root))
	opts := m.options()
	opts.CAFile = m.path("ca.crt")
	files := newFiles(t, opts)
	startSource(t, files)
	serves(t, files, pair)
	require.True(t, files.Healthy())
	require.NoError(t, handshake(t.Context(), files, root.bundle(), serviceName, time.Now()))
}
