// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	clocktesting "k8s.io/utils/clock/testing"
)

// handshake calls the source's server as a client does that trusts the bundle
// and whose clock shows the given time.
func handshake(ctx context.Context, source Source, bundle []byte, name string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: source.GetCertificate})
	if err != nil {
		return err
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = conn.Read(nil) // for the handshake; what fails here fails at the client as well
			_ = conn.Close()
		}
	}()
	dialer := &tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: name, Time: func() time.Time { return now },
	}}
	conn, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestOptions(t *testing.T) {
	tests := []struct {
		name    string
		names   []string
		problem string
	}{
		{name: "a service", names: names},
		{name: "localhost", names: []string{"localhost"}},
		{name: "none", problem: "a DNS name is required"},
		{name: "an address", names: []string{serviceName, "10.0.0.1"}, problem: `"10.0.0.1" must be a DNS name`},
		{name: "a wildcard", names: []string{"*.example.com"}, problem: `"*.example.com" is no DNS name`},
		{name: "empty", names: []string{""}, problem: `"" is no DNS name`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, err := NewInMemory(Options{DNSNames: test.names})
			if test.problem != "" {
				require.ErrorContains(t, err, test.problem)
				return
			}
			require.NoError(t, err)
			require.True(t, source.Healthy())
		})
	}
}

func TestNoCertificateYet(t *testing.T) {
	source, err := NewSelfSigned(nil, SelfSignedOptions{Options: Options{DNSNames: names}, Namespace: "sallyport-system", Secret: "sallyport-certs"})
	require.NoError(t, err)
	require.False(t, source.Healthy())
	require.Nil(t, source.CABundle())
	_, err = source.GetCertificate(nil)
	require.ErrorIs(t, err, errNoCertificate)

	_, err = NewSelfSigned(nil, SelfSignedOptions{Options: Options{DNSNames: names}, Secret: "sallyport-certs"})
	require.ErrorContains(t, err, "the namespace and the name of a Secret are required")
}

func TestInMemoryHandshake(t *testing.T) {
	source, err := NewInMemory(Options{DNSNames: []string{"localhost", serviceName}})
	require.NoError(t, err)
	stranger, err := NewInMemory(Options{DNSNames: names})
	require.NoError(t, err)
	tests := []struct {
		name       string
		bundle     []byte
		serverName string
		skew       time.Duration
		problem    string
	}{
		{name: "by its first name", bundle: source.CABundle(), serverName: "localhost"},
		{name: "by its second name", bundle: source.CABundle(), serverName: serviceName},
		{name: "client's clock 30 minutes behind", bundle: source.CABundle(), serverName: serviceName, skew: -30 * time.Minute},
		{name: "client's clock 2 hours behind", bundle: source.CABundle(), serverName: serviceName, skew: -2 * time.Hour, problem: "not yet valid"},
		{name: "by another name", bundle: source.CABundle(), serverName: otherName, problem: "certificate is valid for"},
		{name: "another CA", bundle: stranger.CABundle(), serverName: serviceName, problem: "unknown authority"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := handshake(t.Context(), source, test.bundle, test.serverName, time.Now().Add(test.skew))
			if test.problem != "" {
				require.ErrorContains(t, err, test.problem)
				return
			}
			require.NoError(t, err)
		})
	}
}

func TestInMemoryRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := clocktesting.NewFakeClock(someDay)
		source, err := NewInMemory(Options{DNSNames: names, Clock: clock})
		require.NoError(t, err)
		bundle, ca := source.CABundle(), bundled(t, source.CABundle())[0]
		log := new(logRecord)
		ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), log.logger()))
		ended := make(chan error)
		go func() { ended <- source.Start(ctx) }()
		synctest.Wait()

		for clock.Now().Before(ca.NotAfter.Add(-day)) {
			clock.Step(day)
			synctest.Wait()
			err := handshake(t.Context(), source, bundle, serviceName, clock.Now())
			require.NoError(t, err, "at %s", clock.Now())
			require.True(t, source.Healthy())
		}
		require.Equal(t, 11, strings.Count(log.String(), "Renewed certificate"), "one every 61 days")
		require.Equal(t, bundle, source.CABundle())

		clock.Step(day + time.Second)
		synctest.Wait()
		require.False(t, source.Healthy(), "the CA has ended")
		cancel()
		require.NoError(t, <-ended)
	})
}

func BenchmarkGetCertificate(b *testing.B) {
	source, err := NewInMemory(Options{DNSNames: names})
	require.NoError(b, err)
	hello := &tls.ClientHelloInfo{ServerName: serviceName}
	b.ReportAllocs()
	for b.Loop() {
		if cert, err := source.GetCertificate(hello); err != nil || cert == nil {
			b.Fatal(err)
		}
	}
}

func TestGetCertificateAllocatesNothing(t *testing.T) {
	source, err := NewInMemory(Options{DNSNames: names})
	require.NoError(t, err)
	hello := &tls.ClientHelloInfo{ServerName: serviceName}
	require.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = source.GetCertificate(hello) }))
}
