// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"log"
	"log/slog"
	"strings"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// newDebugLog returns a log for what net/http tells of a server. All lines go to the
// log at level 1: anybody who reaches the port can cause them.
func newDebugLog(to logr.Logger) *log.Logger {
	return slog.NewLogLogger(logr.ToSlogHandler(to), slog.LevelDebug)
}

// A handshakeLog counts the failed handshakes among what net/http logs of a
// server, which is the only place where it tells of them.
type handshakeLog struct {
	errors *prometheus.CounterVec
	next   *log.Logger
}

func newErrorLog(errors *prometheus.CounterVec, to logr.Logger) *log.Logger {
	return log.New(&handshakeLog{errors: errors, next: newDebugLog(to)}, "", 0)
}

// Write implements [io.Writer]; it gets a line at a time.
func (h *handshakeLog) Write(line []byte) (int, error) {
	// "http: TLS handshake error from ADDRESS: ERROR" (Go 1.26, net/http/server.go)
	if problem, ok := bytes.CutPrefix(line, []byte("http: TLS handshake error from ")); ok {
		h.errors.WithLabelValues(handshakeReason(string(problem))).Inc()
	}
	h.next.Print(string(line))
	return len(line), nil
}

// handshakeReasons are parts of errors of crypto/tls (Go 1.26), and what they mean.
var handshakeReasons = []struct{ part, reason string }{
	{"remote error: tls: bad certificate", "distrusted"},
	{"remote error: tls: unknown certificate", "distrusted"}, // also "... authority"
	{"remote error: tls: expired certificate", "distrusted"},
	{"there is no certificate yet", "no_certificate"},
	{"client didn't provide a certificate", "client_certificate"},
	{"failed to verify certificate", "client_certificate"},
	{"is none of the allowed names", "client_certificate"}, // of package certs
	{"there is no client CA yet", "client_certificate"},
	{"unsupported versions", "protocol"},
	{"does not look like a TLS handshake", "protocol"},
	{"HTTP request to an HTTPS server", "protocol"},
	{"i/o timeout", "timeout"},
	{"EOF", "closed"},
	{"connection reset by peer", "closed"},
}

func handshakeReason(problem string) string {
	for _, r := range handshakeReasons {
		if strings.Contains(problem, r.part) {
			return r.reason
		}
	}
	return "other"
}
