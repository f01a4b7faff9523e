// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// ClientCAOptions say which clients a server may have.
type ClientCAOptions struct {
	// File holds the CAs of the clients' certificates, in PEM. It may appear,
	// and change, at any time.
	File string
	// AllowedNames are the common names that a client may have. Empty: any
	// client with a certificate of the CAs. // optional
	AllowedNames []string
	// Clock is the time; nil is the system's. // optional
	Clock clock.WithTicker
}

// ClientCA makes a server ask its clients for certificates. Use [NewClientCA].
type ClientCA struct {
	opts ClientCAOptions
	read []byte // of Start alone
	pool atomic.Pointer[x509.CertPool]
}

// NewClientCA returns a ClientCA that lets nobody in before it is started.
func NewClientCA(opts ClientCAOptions) (*ClientCA, error) {
	if opts.File == "" {
		return nil, errors.New("client CA: a file is required")
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &ClientCA{opts: opts}, nil
}

// Start follows the file until ctx is done; then it returns nil. As long as the
// file is bad, the last good one counts. Its log is the logger of ctx.
func (c *ClientCA) Start(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	changes := newChanges()
	group.Go(func() { watchFiles(ctx, []string{c.opts.File}, changes.notice) })
	loop(ctx, c.opts.Clock.NewTicker(pollPeriod), changes, c.reconcile)
	return nil
}

func (c *ClientCA) reconcile(ctx context.Context) error {
	contents, err := readFiles([]string{c.opts.File})
	if err != nil {
		return fmt.Errorf("read the client CA: %w", err)
	}
	if c.Ready() && bytes.Equal(c.read, contents[0]) {
		return nil
	}
	cas, err := pki.DecodeX509CertificateSetBytes(contents[0])
	if err != nil {
		return fmt.Errorf("read the client CA of %s: %w", c.opts.File, err)
	}
	c.read = contents[0]
	c.pool.Store(poolOf(cas))
	logr.FromContextOrDiscard(ctx).Info("Changed client CA", "certificates", len(cas))
	return nil
}

// Ready reports whether clients can be let in.
func (c *ClientCA) Ready() bool { return c.pool.Load() != nil }

var errNoClientCA = errors.New("certs: there is no client CA yet")

// Require makes servers with the configuration demand a certificate. Connections
// that there are when the CA changes stay.
func (c *ClientCA) Require(config *tls.Config) {
	base := config.Clone()
	base.ClientAuth = tls.RequireAndVerifyClientCert
	base.VerifyConnection = c.checkName
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool := c.pool.Load()
		if pool == nil {
			return nil, errNoClientCA
		}
		config := base.Clone()
		config.ClientCAs = pool
		return config, nil
	}
}

func (c *ClientCA) checkName(state tls.ConnectionState) error {
	name := state.PeerCertificates[0].Subject.CommonName
	if len(c.opts.AllowedNames) > 0 && !slices.Contains(c.opts.AllowedNames, name) {
		return fmt.Errorf("certs: client %q is none of the allowed names", name)
	}
	return nil
}
