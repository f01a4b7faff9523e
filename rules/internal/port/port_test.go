// SPDX-License-Identifier: Apache-2.0

package port_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

// table is pkg/config/protocol/instance.go of istio.io/istio v1.31.
var table = map[string]struct {
	want           port.Protocol
	http, tls, tcp bool
}{
	"tcp":        {want: port.TCP, tcp: true},
	"udp":        {want: port.UDP, tcp: true},
	"grpc":       {want: port.GRPC, http: true},
	"grpc-web":   {want: port.GRPCWeb, http: true},
	"http":       {want: port.HTTP, http: true},
	"http_proxy": {want: port.HTTPProxy, http: true},
	"http2":      {want: port.HTTP2, http: true},
	"https":      {want: port.HTTPS, tls: true},
	"tls":        {want: port.TLS, tls: true},
	"mongo":      {want: port.Mongo, tcp: true},
	"redis":      {want: port.Redis, tcp: true},
	"mysql":      {want: port.MySQL, tcp: true},
}

func TestParse(t *testing.T) {
	for s, want := range table {
		for _, spelling := range []string{s, strings.ToUpper(s), strings.ToUpper(s[:1]) + s[1:]} {
			t.Run(spelling, func(t *testing.T) {
				p := port.Parse(spelling)
				require.Equal(t, want.want, p)
				require.Equal(t, want.http, p.HTTPLike())
				require.Equal(t, want.tls, p.TLSLike())
				require.Equal(t, want.tcp, p.TCPLike())
				require.Equal(t, string(want.want), p.String())
			})
		}
	}
	for _, s := range []string{"", "sctp", "HBONE", "DoubleHBONE", " tcp", "tcp\x00", "http_proxy_", "httpſ", "a-much-longer-name"} {
		t.Run(s, func(t *testing.T) {
			p := port.Parse(s)
			require.Equal(t, port.Sniffed, p)
			require.True(t, p.TCPLike())
			require.False(t, p.HTTPLike())
			require.False(t, p.TLSLike())
			require.Equal(t, "unset", p.String())
		})
	}
}

// FuzzParse compares with istiod's way: strings.ToLower and a table.
func FuzzParse(f *testing.F) {
	for s := range table {
		f.Add(s)
	}
	f.Add("REDİS")
	f.Fuzz(func(t *testing.T, s string) {
		require.Equal(t, table[strings.ToLower(s)].want, port.Parse(s))
	})
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"TCP", "https", "HTTP_PROXY", "sctp"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				port.Parse(s)
			}
		})
	}
}
