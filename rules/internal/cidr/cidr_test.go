// SPDX-License-Identifier: Apache-2.0

package cidr_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

func TestParseAddr(t *testing.T) {
	tests := []struct {
		in, want string // want is empty where in is no address
	}{
		{"169.254.169.254", "169.254.169.254"},
		{"169.254.169.254.", "169.254.169.254"},
		{"0xa9.0xfe.0xA9.0XFE", "169.254.169.254"},
		{"0xa9fea9fe", "169.254.169.254"},
		{"2852039166", "169.254.169.254"},
		{"025177524776", "169.254.169.254"},
		{"0251.0376.0251.0376", "169.254.169.254"},
		{"169.254.43518", "169.254.169.254"},
		{"169.16689662", "169.254.169.254"},
		{"127.1", "127.0.0.1"},
		{"0x7f.1", "127.0.0.1"},
		{"0", "0.0.0.0"},
		{"0x", "0.0.0.0"},
		{"4294967295", "255.255.255.255"},
		{"::ffff:169.254.169.254", "169.254.169.254"},
		{"::FFFF:a9fe:a9fe", "169.254.169.254"},
		{"0:0:0:0:0:ffff:a9fe:a9fe", "169.254.169.254"},
		{"fe80::1%eth0", "fe80::1"},
		{"fd00:EC2::254", "fd00:ec2::254"},
		{"fd00:ec2:0:0:0:0:0:254", "fd00:ec2::254"},

		{"", ""},
		{".", ""},
		{"0xg", ""},
		{"4294967296", ""},
		{"256.1.1.1", ""},
		{"1.256.1", ""},
		{"1.2.65536", ""},
		{"1.2.3.4.5", ""},
		{"1..2", ""},
		{"1.2.", "1.0.0.2"},
		{"08.1.1.1", ""},
		{"1.2.3.-4", ""},
		{"1.2.3.4 ", ""},
		{"1.2.3.4\x00", ""},
		{"99999999999999999999999999", ""},
		{"a9fea9fe", ""},
		{"0xa9fea9fe.example.com", ""},
		{"1.2.3.4.example.com", ""},
		{"1password.com", ""},
		{"1.2.3.4:80", ""},
		{"[::1]", ""},
		{"example.com", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			a, ok := cidr.ParseAddr(tt.in)
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, a.String())
			}
		})
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		in, want string
	}{
		{"192.0.2.1", "192.0.2.1/32"},
		{"192.0.2.1/24", "192.0.2.0/24"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"2001:db8::1/32", "2001:db8::/32"},
		{"::ffff:192.0.2.1/120", "192.0.2.0/24"},
		{"::ffff:192.0.2.1/128", "192.0.2.1/32"},
		{"::ffff:0:0/96", "0.0.0.0/0"},
		{"::ffff:0:0/95", "::fffe:0:0/95"},
		{"::ffff:192.0.2.1", "192.0.2.1/32"},
		{"0xc0.0.2.1/24", "192.0.2.0/24"},
		{"192.2/24", "192.0.0.0/24"},
		{"0/0", "0.0.0.0/0"},
		{"::/0", "::/0"},
		{"fe80::1%eth0", "fe80::1/128"},
		{"fe80::1%a/64", "fe80::1/128"},
		{"192.0.2.1/33", ""},
		{"2001:db8::/129", ""},
		{"192.0.2.1/", ""},
		{"192.0.2.1/-1", ""},
		{"192.0.2.1/24/24", ""},
		{"192.0.2.1/1000", ""},
		{"/24", ""},
		{"example.com/24", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			p, ok := cidr.Parse(tt.in)
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, p.String())
			}
		})
	}
}

func TestOverlapsAndContains(t *testing.T) {
	tests := []struct {
		a, b               string
		overlaps, contains bool
	}{
		{"169.254.0.0/15", "169.254.169.254", true, true},
		{"169.254.169.254", "169.254.0.0/15", true, false},
		{"169.254.0.0/16", "169.254.0.0/16", true, true},
		{"169.255.0.0/16", "169.254.169.254", false, false},
		{"0.0.0.0/0", "169.254.169.254", true, true},
		{"::ffff:a9fe:0/112", "169.254.169.254", true, true},
		{"::/0", "169.254.169.254", true, true},
		{"169.254.169.254", "::/0", true, false},
		{"::/80", "169.254.169.254", true, true},
		{"::/96", "169.254.169.254", false, false},
		{"2001:db8::/32", "192.0.2.1", false, false},
		{"2001:db8::/32", "2001:db8:1::/48", true, true},
	}
	for _, tt := range tests {
		t.Run(tt.a+" "+tt.b, func(t *testing.T) {
			a, b := mustParse(t, tt.a), mustParse(t, tt.b)
			require.Equal(t, tt.overlaps, cidr.Overlaps(a, b))
			require.Equal(t, tt.overlaps, cidr.Overlaps(b, a))
			require.Equal(t, tt.contains, cidr.Contains(a, b))
			require.Equal(t, tt.contains, cidr.In([]netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), a}, b))
		})
	}
	require.False(t, cidr.Overlaps(netip.Prefix{}, mustParse(t, "::/0")))
	require.False(t, cidr.Contains(mustParse(t, "::/0"), netip.Prefix{}))
	require.False(t, cidr.In(nil, mustParse(t, "::/0")))
}

func mustParse(t *testing.T, s string) netip.Prefix {
	t.Helper()
	p, ok := cidr.Parse(s)
	require.True(t, ok, s)
	return p
}

// FuzzParse compares with netip, which knows the usual spellings only, and
// checks that the result does not depend on how an address is written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "::ffff:192.0.2.1/120", "0x7f.1", "fe80::1%eth0", "2130706433/8", "0/0", "1.2.3.4."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := cidr.Parse(s)
		if a, err := netip.ParseAddr(s); err == nil {
			require.True(t, ok, "netip takes %q", s)
			require.Equal(t, a.WithZone("").Unmap(), p.Addr())
		}
		if _, err := netip.ParsePrefix(s); err == nil {
			require.True(t, ok, "netip takes %q", s)
		}
		if !ok {
			return
		}
		require.Equal(t, p.Masked(), p)
		require.False(t, p.Addr().Is4In6() && p.Bits() >= 96)
		again, ok := cidr.Parse(p.String())
		require.True(t, ok)
		require.Equal(t, p, again)
		if p.Addr().Is4() {
			b := p.Addr().As4()
			other := fmt.Sprintf("0x%x.0%o.%d/%d", b[0], b[1], int(b[2])<<8|int(b[3]), p.Bits())
			again, ok = cidr.Parse(other)
			require.True(t, ok, other)
			require.Equal(t, p, again, other)
		}
		// A superset contains, and whatever contains overlaps.
		if p.Bits() > 0 {
			wider := netip.PrefixFrom(p.Addr(), p.Bits()/2).Masked()
			require.True(t, cidr.Contains(wider, p))
			require.False(t, cidr.Contains(p, wider))
			require.True(t, cidr.Overlaps(p, wider))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"api.example.com", "1password.com", "192.0.2.1", "0xa9fea9fe", "::ffff:192.0.2.1/120"} {
		b.Run(strings.ReplaceAll(s, "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				cidr.Parse(s)
			}
		})
	}
}
