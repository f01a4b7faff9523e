// SPDX-License-Identifier: Apache-2.0

// Package port knows the protocols that Istio's ports declare, as istiod reads
// them.
package port

import "strings"

// A Protocol is one that istiod knows, in its spelling.
type Protocol string

// The protocols of istio.io/istio v1.31, pkg/config/protocol/instance.go, as far
// as its Parse returns them.
const (
	TCP       Protocol = "TCP"
	UDP       Protocol = "UDP"
	GRPC      Protocol = "GRPC"
	GRPCWeb   Protocol = "GRPC-Web"
	HTTP      Protocol = "HTTP"
	HTTPProxy Protocol = "HTTP_PROXY"
	HTTP2     Protocol = "HTTP2"
	HTTPS     Protocol = "HTTPS"
	TLS       Protocol = "TLS"
	Mongo     Protocol = "Mongo"
	Redis     Protocol = "Redis"
	MySQL     Protocol = "MySQL"
	// Sniffed is what istiod makes of no protocol and of one that it does not
	// know (its "UnsupportedProtocol"): the proxy tells HTTP from TCP by the
	// first bytes.
	Sniffed Protocol = ""
)

// Parse returns the protocol that istiod reads, whatever its case.
func Parse(s string) Protocol {
	var buf [len("http_proxy")]byte
	if len(s) > len(buf) {
		return Sniffed
	}
	for i := range len(s) {
		c := s[i]
		if c >= 0x80 {
			return parseLower(strings.ToLower(s))
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return parseLower(string(buf[:len(s)]))
}

func parseLower(s string) Protocol {
	switch s {
	case "tcp":
		return TCP
	case "udp":
		return UDP
	case "grpc":
		return GRPC
	case "grpc-web":
		return GRPCWeb
	case "http":
		return HTTP
	case "http_proxy":
		return HTTPProxy
	case "http2":
		return HTTP2
	case "https":
		return HTTPS
	case "tls":
		return TLS
	case "mongo":
		return Mongo
	case "redis":
		return Redis
	case "mysql":
		return MySQL
	default:
		return Sniffed
	}
}

// HTTPLike reports whether proxies route the protocol by its Host header.
func (p Protocol) HTTPLike() bool {
	switch p {
	case HTTP, HTTP2, HTTPProxy, GRPC, GRPCWeb:
		return true
	default:
		return false
	}
}

// TLSLike reports whether proxies route the protocol by the server name (SNI)
// of its handshake.
func (p Protocol) TLSLike() bool { return p == HTTPS || p == TLS }

// TCPLike reports whether nothing in the traffic names the host, or need not:
// the protocol is neither [Protocol.HTTPLike] nor [Protocol.TLSLike]. Of UDP
// istiod makes no listener at all.
func (p Protocol) TCPLike() bool { return !p.HTTPLike() && !p.TLSLike() }

// Nameless reports whether a proxy takes all connections to a port of the
// protocol for one host, unless an address tells: nothing that clients send does.
func (p Protocol) Nameless() bool { return p.TCPLike() && p != UDP }

// String returns the protocol as messages spell it.
func (p Protocol) String() string {
	if p == Sniffed {
		return "unset"
	}
	return string(p)
}
