// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"

	"github.com/go-logr/logr"
)

// InMemory is a [Source] with a CA that nobody else knows. Use [NewInMemory].
type InMemory struct {
	serving
	bundle []byte
	keys   keyring // of Start alone
}

var _ Source = (*InMemory)(nil)

// NewInMemory makes a CA and a certificate, which can be served at once. The CA
// is never replaced, because those who trust it have been told so out of band: a
// process that runs for two years must be restarted.
func NewInMemory(opts Options) (*InMemory, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	keys, err := newKeyring(opts.profile, opts.Clock.Now())
	if err != nil {
		return nil, err
	}
	m := &InMemory{serving: serving{opts: opts}, bundle: keys.bundle(), keys: keys}
	return m, m.serve()
}

// CABundle returns the CA in PEM, for clients.
func (m *InMemory) CABundle() []byte { return m.bundle }

// Start renews the certificate until ctx is done.
func (m *InMemory) Start(ctx context.Context) error {
	log := logr.FromContextOrDiscard(ctx)
	ticker := m.opts.Clock.NewTicker(m.opts.periods.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		renewed, err := m.renew()
		if err != nil {
			log.Error(err, "Kept the old certificate")
		}
		if renewed {
			log.Info("Renewed certificate", "notAfter", m.current.Load().Leaf.NotAfter)
		}
	}
}

func (m *InMemory) renew() (renewed bool, err error) {
	now := m.opts.Clock.Now()
	leaf := m.current.Load().Leaf
	if !lifetimeOf(leaf).due(now) {
		return false, nil
	}
	ca, err := m.keys.ca(now)
	if err != nil {
		return false, fmt.Errorf("renew the certificate: %w", err)
	}
	if leaf.NotAfter.Equal(ca.cert.NotAfter) {
		return false, nil // no other would live longer
	}
	next, err := m.keys.withLeaf(ca, m.opts.profile, now, m.keys.trusted(now))
	if err != nil {
		return false, fmt.Errorf("renew the certificate: %w", err)
	}
	m.keys = next
	return true, m.serve()
}

func (m *InMemory) serve() error {
	leaf, err := m.keys.leaf(m.opts.DNSNames, m.opts.Clock.Now())
	if err != nil {
		return err
	}
	m.current.Store(leaf)
	return nil
}
