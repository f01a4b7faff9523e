// SPDX-License-Identifier: Apache-2.0

package metadata_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/internal/metadata"
)

func TestFind(t *testing.T) {
	tests := []struct {
		in, want   string // want is empty for what leads to none
		echo, wide bool
	}{
		{in: "169.254.169.254", want: "169.254.0.0/16"},
		{in: "169.254.170.2", want: "169.254.0.0/16"},
		{in: "169.254.170.23/32", want: "169.254.0.0/16"},
		{in: "169.254.169.254.", want: "169.254.0.0/16"},
		{in: "169.254.169.254:80", want: "169.254.0.0/16"},
		{in: "169。254。169。254", want: "169.254.0.0/16"},
		{in: "０xa9fea9fe", want: "169.254.0.0/16"},
		{in: "0xa9fea9fe", want: "169.254.0.0/16"},
		{in: "2852039166", want: "169.254.0.0/16"},
		{in: "0251.0376.0251.0376", want: "169.254.0.0/16"},
		{in: "169.254.43518", want: "169.254.0.0/16"},
		{in: "::ffff:169.254.169.254", want: "169.254.0.0/16"},
		{in: "::ffff:a9fe:a9fe/120", want: "169.254.0.0/16"},
		{in: "[::ffff:a9fe:a9fe]:80", want: "169.254.0.0/16"},
		{in: "169.254.0.0/15", want: "169.254.0.0/16", wide: true},
		{in: "0.0.0.0/0", want: "169.254.0.0/16", wide: true},
		{in: "::/0", want: "169.254.0.0/16", wide: true},
		{in: "fe80::a9fe:a9fe%eth0", want: "fe80::/10"},
		{in: "febf::1", want: "fe80::/10"},
		{in: "FD00:EC2:0:0:0:0:0:254", want: "fd00:ec2::254"},
		{in: "fd00:ec2::/32", want: "fd00:ec2::254", wide: true},
		{in: "fd00:ec2::23", want: "fd00:ec2::23"},
		{in: "fd20:ce::254", want: "fd20:ce::254"},
		{in: "fd00:42::42", want: "fd00:42::42"},
		{in: "metadata.goog.", want: "metadata.goog"},
		{in: "metadata.tencentyun.com", want: "metadata.tencentyun.com"},
		{in: "64:ff9b::a9fe:a9fe", want: "169.254.0.0/16"},
		{in: "64:ff9b::/96", want: "169.254.0.0/16", wide: true},
		{in: "64:ff9b::192.0.2.1"},
		{in: "100.100.100.200", want: "100.100.100.200"},
		{in: "100.64.0.0/10", want: "100.100.100.200", wide: true},
		{in: "168.63.129.16", want: "168.63.129.16"},
		{in: "192.0.0.192", want: "192.0.0.192"},
		{in: "metadata.google.internal", want: "metadata.google.internal"},
		{in: "Metadata.Google.Internal.", want: "metadata.google.internal"},
		{in: "metadata.google.internal:80", want: "metadata.google.internal"},
		{in: "*.google.internal", want: "metadata.google.internal", wide: true},
		{in: "*.internal", want: "metadata.google.internal", wide: true},
		{in: "*google.internal", want: "metadata.google.internal", wide: true},
		{in: "metadata", want: "metadata"},
		{in: "instance-data", want: "instance-data"},
		{in: "instance-data.ec2.internal", want: "instance-data.ec2.internal"},
		{in: "*.ec2.internal", want: "instance-data.ec2.internal", wide: true},
		{in: "169.254.169.254.nip.io", want: "nip.io", echo: true},
		{in: "app-a9fea9fe.nip.io", want: "nip.io", echo: true},
		{in: "10-0-0-1.sslip.io", want: "sslip.io", echo: true},
		{in: "*.xip.io", want: "xip.io", echo: true},
		{in: "LocalTest.me", want: "localtest.me", echo: true},
		{in: "foo.lvh.me.", want: "lvh.me", echo: true},
		{in: "*.me", want: "localtest.me", echo: true, wide: true},
		{in: "*nip.io", want: "nip.io", echo: true, wide: true},

		{in: "api.example.com"},
		{in: "*.example.com"},
		{in: "metadata.example.com"},
		{in: "metadata.shop.svc.cluster.local"},
		{in: "my-metadata"},
		{in: "instance-data.example.com"},
		{in: "catnip.io"},
		{in: "nip.io.example.com"},
		{in: "169.254.169.254.example.com"},
		{in: "169.253.0.0/16"},
		{in: "169.255.0.1"},
		{in: "100.100.100.201"},
		{in: "192.0.2.1"},
		{in: "203.0.113.0/24"},
		{in: "fec0::1"},
		{in: "fd00:ec2::253"},
		{in: "unix:///var/run/app.sock"},
		{in: "1password.com"},
		{in: ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			target, ok := metadata.Find(tt.in)
			require.Equal(t, tt.want != "", ok)
			require.Equal(t, metadata.Target{Name: tt.want, Echo: tt.echo, Wide: tt.wide}, target)
		})
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{"169.254.169.254", "metadata.google.internal:80", "*.internal", "[::1", "]:", "fe80::%/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, ok := metadata.Find(s)
		require.Equal(t, ok, target.Name != "")
	})
}

func BenchmarkFind(b *testing.B) {
	for _, s := range []string{"api.example.com", "192.0.2.1", "2001:db8::1"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				metadata.Find(s)
			}
		})
	}
}
