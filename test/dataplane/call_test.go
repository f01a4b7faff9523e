// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A call is one request or connection, and where the world says that it goes.
type call struct {
	text      string
	namespace string
	labels    map[string]string
	// scheme is http, grpc, https, tls or tcp.
	scheme string
	// host and port are as the client writes them, address is where the
	// connection goes.
	host, address, sni string
	port               int
	method, path       string
	query              url.Values
	headers            http.Header

	// without and with are where it goes, and today is where it still goes with
	// Sallyport, if that is not where it should.
	without, with, today string
}

var defaultPorts = map[string]int{"http": 80, "grpc": 80, "https": 443, "tls": 443}

// client names the sidecar that makes the call.
func (c *call) client() string {
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(c.labels)) {
		labels = append(labels, k+"="+c.labels[k])
	}
	if len(labels) == 0 {
		return c.namespace
	}
	return c.namespace + "{" + strings.Join(labels, ",") + "}"
}

func (c *call) isTLS() bool { return c.scheme == "https" || c.scheme == "tls" }

func (c *call) isHTTP() bool { return c.scheme == "http" || c.scheme == "grpc" }

func parseCalls(t *testing.T, data []byte) []*call {
	t.Helper()
	var calls []*call
	for _, line := range lines(data) {
		if outcome, ok := strings.CutPrefix(line, "without:"); ok {
			calls[len(calls)-1].without = strings.TrimSpace(outcome)
		} else if outcome, ok := strings.CutPrefix(line, "with:"); ok {
			calls[len(calls)-1].with = strings.TrimSpace(outcome)
		} else if outcome, ok := strings.CutPrefix(line, "today:"); ok {
			calls[len(calls)-1].today = strings.TrimSpace(outcome)
		} else {
			calls = append(calls, parseCall(t, line))
		}
	}
	return calls
}

func parseCall(t *testing.T, line string) *call {
	t.Helper()
	words := strings.Fields(line)
	require.GreaterOrEqual(t, len(words), 2, "call %q", line)
	u, err := url.Parse(words[1])
	require.NoError(t, err)
	c := &call{
		text: line, scheme: u.Scheme, host: u.Hostname(), path: u.Path, query: u.Query(), method: http.MethodGet,
		headers: http.Header{}, labels: map[string]string{},
	}
	var labels string
	c.namespace, labels, _ = strings.Cut(strings.TrimSuffix(words[0], "}"), "{")
	for label := range strings.FieldsFuncSeq(labels, func(r rune) bool { return r == ',' }) {
		key, value, _ := strings.Cut(label, "=")
		c.labels[key] = value
	}
	c.port = defaultPorts[c.scheme]
	if u.Port() != "" {
		c.port, err = strconv.Atoi(u.Port())
		require.NoError(t, err)
	}
	require.NotZero(t, c.port, "call %q has no port", line)
	if c.isTLS() {
		c.sni = c.host
	}
	if c.scheme == "tcp" {
		c.address = c.host
	}
	c.parseOptions(t, words[2:])
	return c
}

func (c *call) parseOptions(t *testing.T, options []string) {
	t.Helper()
	for _, option := range options {
		key, value, ok := strings.Cut(option, "=")
		require.True(t, ok, "call %q", c.text)
		switch key {
		case "sni":
			c.sni = value
		case "ip":
			c.address = value
		case "method":
			c.method = value
		default:
			c.headers.Set(key, value)
		}
	}
}
