// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"crypto/tls"
	"errors"
	"net"
)

var errNotServed = errors.New("only the handler is used")

// noCertificates are the certificates of a server of which only the handler is
// used.
type noCertificates struct{}

// GetCertificate implements [webhook.Certificates].
func (noCertificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, errNotServed
}

// Healthy implements [webhook.Certificates].
func (noCertificates) Healthy() bool { return true }

// noListener is the listener of such a server.
type noListener struct{}

// Accept implements [net.Listener].
func (noListener) Accept() (net.Conn, error) { return nil, errNotServed }

// Close implements [net.Listener].
func (noListener) Close() error { return nil }

// Addr implements [net.Listener].
func (noListener) Addr() net.Addr { return &net.TCPAddr{} }
