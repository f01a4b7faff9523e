// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

func TestNormal(t *testing.T) {
	tests := []struct{ in, want string }{
		{"api.example.com", "api.example.com"},
		{"API.Example.COM", "api.example.com"},
		{"api.example.com.", "api.example.com"},
		{"api.example.com..", "api.example.com."},
		{"*.Example.com.", "*.example.com"},
		{"*.", "*"},
		{".", ""},
		{"", ""},
		{"api.example.com:443", "api.example.com:443"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example", "xn--bcher-kva.example"},
		{"*.bücher.example.", "*.xn--bcher-kva.example"},
		{"api。example．com｡", "api.example.com"},
		{"ａｐｉ.example.com", "api.example.com"},
		{"169。254。169。254", "169.254.169.254"},
		{"api.example.com\x00", "api.example.com\x00"},
		{strings.Repeat("Ü", 513), strings.Repeat("ü", 513)}, // too long to be mapped
		{"\xff.Example.com.", "\ufffd.example.com"},          // as decoders turn it too
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) { require.Equal(t, tt.want, host.Normal(tt.in)) })
	}
}

func TestTrimPort(t *testing.T) {
	tests := []struct{ in, want string }{
		{"api.example.com:443", "api.example.com"},
		{"api.example.com", "api.example.com"},
		{"api.example.com:", "api.example.com"},
		{"169.254.169.254:80", "169.254.169.254"},
		{"[fd00:ec2::254]:80", "fd00:ec2::254"},
		{"[fd00:ec2::254]", "fd00:ec2::254"},
		{"fd00:ec2::254", "fd00:ec2::254"},
		{"fd00]:80", "fd00]"},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) { require.Equal(t, tt.want, host.TrimPort(tt.in)) })
	}
}

func TestCoversAndOverlaps(t *testing.T) {
	tests := []struct {
		wide, narrow     string
		covers, overlaps bool
	}{
		{"foo.com", "foo.com", true, true},
		{"foo.com", "bar.com", false, false},
		{"*.foo.com", "a.foo.com", true, true},
		{"*.foo.com", "a.b.foo.com", true, true},
		{"*.foo.com", "foo.com", false, false},
		{"*.foo.com", "evilfoo.com", false, false},
		{"*foo.com", "evilfoo.com", true, true},
		{"*foo.com", "foo.com", true, true},
		{"*-x.com", "a-x.com", true, true},
		{"*-x.com", "x.com", false, false},
		{"*.foo.com", "*.foo.com", true, true},
		{"*.foo.com", "*.a.foo.com", true, true},
		{"*.a.foo.com", "*.foo.com", false, true},
		{"*foo.com", "*.foo.com", true, true},
		{"*.foo.com", "*foo.com", false, true},
		{"*.foo.com", "*-x.foo.com", true, true},
		{"*.foo.com", "*.bar.com", false, false},
		{"a.foo.com", "*.foo.com", false, true},
		{"*", "foo.com", true, true},
		{"*", "*.com", true, true},
		{"*.com", "*", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.wide+" "+tt.narrow, func(t *testing.T) {
			require.Equal(t, tt.covers, host.Covers(tt.wide, tt.narrow))
			require.Equal(t, tt.overlaps, host.Overlaps(tt.wide, tt.narrow))
			require.Equal(t, tt.overlaps, host.Overlaps(tt.narrow, tt.wide))
		})
	}
}

func TestApproves(t *testing.T) {
	tests := []struct {
		allowed, host string
		want          bool
	}{
		{"api.example.org", "api.example.org", true},
		{"*.example.org", "*.example.org", true},
		{"*.example.org", "api.example.org", true},
		{"*.example.org", "a.b.example.org", true},
		{"*.example.org", "*.api.example.org", true},

		{"*.example.org", "example.org", false},
		{"*.example.org", "evilexample.org", false},
		{"*.example.org", "*example.org", false},
		{"*.example.org", "*.org", false},
		{"*.example.org", "*-api.example.org", false},
		{"*example.org", "api.example.org", false},
		{"*example.org", "*example.org", false},
		{"api.example.org", "*.example.org", false},
		{"*.example.org", ".example.org", false},
		{"*.example.org", "a..example.org", false},
		{"*.example.org", "*.*.example.org", false},
		{"*.example.org", "evil.com\x00.example.org", false},
		{"*.example.org", "evil.com/.example.org", false},
		{"*.example.org", "evil.com:1.example.org", false},
		{"*.example.org", "evil。com.example.org", false},
		{"*.example.org", "EVIL.example.org", false},
		{"*.example.org", "\ufffd.example.org", false},
		{"*.example.org", strings.Repeat("a.", 121) + "example.org", true},
		{"*.example.org", strings.Repeat("a.", 122) + "example.org", false},
	}
	for _, tt := range tests {
		t.Run(tt.allowed+" "+tt.host, func(t *testing.T) {
			require.Equal(t, tt.want, host.Approves(tt.allowed, tt.host))
		})
	}
}

func TestLabels(t *testing.T) {
	for h, want := range map[string]int{
		"*.com": 1, "*.example.com": 2, "example.com": 2, "*com": 1, "*.": 0, "*": 0, "": 0, "db": 1,
	} {
		require.Equal(t, want, host.Labels(h), h)
	}
}

func TestInternal(t *testing.T) {
	mesh := &config.Mesh{ClusterDomain: "cluster.local", InternalSuffixes: []string{"corp.example"}}
	tests := []struct {
		host string
		want bool
	}{
		{"reviews", true},
		{"reviews.prod.svc.cluster.local", true},
		{"anything.cluster.local", true},
		{"reviews.prod.svc", true},
		{"db.corp.example", true},
		{"corp.example", true},
		{"*.svc.cluster.local", true},
		{"*.prod.svc", true},
		{"*.corp.example", true},
		{"*svc.cluster.local", true},
		{"reviews.prod", true},

		{"api.example.com", false},
		{"cluster.local", false},
		{"evilcluster.local", false},
		{"*cluster.local", false},
		{"evilcorp.example", false},
		{"*corp.example", false},
		{"*.example", false},
		{"*", false},
		{"*foo", false},
		{"*.prod", false},
		{"api.stripe", false},
		{"a.reviews.prod", false},
		{".prod", false},
		{"cluster.local.example.com", false},
		{"192.0.2.1", false},
		{"2130706433", false},
		{"0x7f000001", false},
		{"::1", false},
		{"", false},
	}
	isNamespace := func(n string) bool { return n == "prod" }
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			require.Equal(t, tt.want, host.Internal(tt.host, mesh, isNamespace))
		})
	}
	require.False(t, host.Internal("reviews.prod", mesh, nil))
}

func TestExpand(t *testing.T) {
	tests := []struct{ in, want string }{
		{"reviews", "reviews.shop.svc.cluster.local"},
		{"Reviews", "reviews.shop.svc.cluster.local"},
		{"reviews.prod", "reviews.prod"},
		{"reviews.", "reviews"},
		{"api.example.com.", "api.example.com"},
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"*", "*"},
		{"*.example.com", "*.example.com"},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			require.Equal(t, tt.want, host.Expand(tt.in, "shop", "cluster.local"))
		})
	}
}

// matches is the naive oracle: label by label from the right, where '*' stands
// for any text in front of the label in which it is, and any labels before it.
func matches(wildcard, name string) bool {
	want, got := labels(wildcard), labels(name)
	for i, w := range want {
		if i >= len(got) {
			return false
		}
		if rest, ok := strings.CutPrefix(w, "*"); ok && i == len(want)-1 {
			return strings.HasSuffix(got[i], rest)
		}
		if w != got[i] {
			return false
		}
	}
	return len(want) == len(got)
}

// labels returns the labels of a host, the last one first.
func labels(h string) []string {
	var out []string
	for {
		i := strings.LastIndexByte(h, '.')
		out = append(out, h[i+1:])
		if i < 0 {
			return out
		}
		h = h[:i]
	}
}

// FuzzMatch (R26).
func FuzzMatch(f *testing.F) {
	for _, pair := range [][2]string{
		{"*.foo.com", "a.foo.com"},
		{"*foo.com", "evilfoo.com"},
		{"*.foo.com", "foo.com"},
		{"*.a.foo.com", "*.foo.com"},
		{"*", "*.com"},
		{"foo.com", "foo.com"},
		{"*-x.com", "a-x.com"},
		{"*.foo.com", "a\x00.foo.com"},
	} {
		f.Add(pair[0], pair[1], "x.a")
	}
	f.Fuzz(func(t *testing.T, a, b, sample string) {
		if !host.IsWildcard(b) {
			require.Equal(t, matches(a, b), host.Covers(a, b), "%q covers %q", a, b)
		}
		if !host.IsWildcard(a) {
			require.Equal(t, a == b, host.Covers(a, b))
		}
		require.True(t, host.Covers(a, a))
		require.Equal(t, host.Overlaps(a, b), host.Overlaps(b, a))
		if host.Covers(a, b) {
			require.True(t, host.Overlaps(a, b))
		}
		if !host.IsWildcard(a) || !host.IsWildcard(b) || host.IsWildcard(sample) {
			return
		}
		// Whatever the narrow wildcard matches, the wide one matches; two that
		// do not overlap match nothing in common.
		name := sample + b[1:]
		if host.IsWildcard(name) {
			return
		}
		require.True(t, matches(b, name), "%q matches %q", b, name)
		if host.Covers(a, b) {
			require.True(t, matches(a, name), "%q matches %q", a, name)
		}
		if !host.Overlaps(a, b) {
			require.False(t, matches(a, name), "%q matches %q", a, name)
		}
	})
}

func FuzzApproves(f *testing.F) {
	f.Add("*.example.org", "api.example.org")
	f.Add("*.example.org", "*.a.example.org")
	f.Add("*.Example.org.", "evil.com\x00.example.org")
	f.Fuzz(func(t *testing.T, allowed, h string) {
		allowed, h = host.Normal(allowed), host.Normal(h)
		if !host.Approves(allowed, h) {
			return
		}
		require.True(t, host.Covers(allowed, h))
		require.False(t, host.IsPartial(h))
		require.False(t, host.IsPartial(allowed))
		require.Equal(t, -1, strings.IndexFunc(strings.TrimPrefix(h, "*"), func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r)
		}))
		if host.IsWildcard(allowed) {
			require.GreaterOrEqual(t, host.Labels(h), host.Labels(allowed))
			require.True(t, host.Below(allowed[2:], h))
		} else {
			require.Equal(t, allowed, h)
		}
	})
}

func FuzzNormal(f *testing.F) {
	for _, s := range []string{"API.Example.com.", "bücher.example", "api。example．com｡", "*.", "a..", "\xff", "xn--a", "Ӏ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := host.Normal(s)
		if strings.HasSuffix(n, ".") {
			return // one dot is stripped, and a name with two is none
		}
		require.Equal(t, n, host.Normal(n))
		if isASCII(s) {
			require.Equal(t, n, host.Normal(strings.ToUpper(s)))
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

func BenchmarkNormal(b *testing.B) {
	for _, s := range []string{"api.example.com", "API.example.com", "bücher.example"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				host.Normal(s)
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	mesh := &config.Default().Mesh
	funcs := map[string]func() bool{
		"Covers":           func() bool { return host.Covers("*.example.com", "api.example.com") },
		"Approves":         func() bool { return host.Approves("*.example.com", "api.example.com") },
		"Internal":         func() bool { return host.Internal("api.example.com", mesh, nil) },
		"PublicSuffix":     func() bool { return host.PublicSuffix("*.api.example.com") != "" },
		"RegisteredDomain": func() bool { return host.RegisteredDomain("api.example.com") != "" },
	}
	for name, f := range funcs {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
