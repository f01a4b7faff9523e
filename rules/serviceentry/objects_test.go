// SPDX-License-Identifier: Apache-2.0

package serviceentry_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/serviceentry"
)

// TestObjects has what the corpus cannot have: objects that no API server with
// Istio's CRDs takes, what is not evaluated, and objects that are fine by one
// rule alone.
func TestObjects(t *testing.T) {
	internal := networking.ServiceEntry_MESH_INTERNAL
	static := networking.ServiceEntry_STATIC
	tls := []*networking.ServicePort{{Number: 443, Name: "tls", Protocol: "TLS"}}
	tests := []struct {
		name         string
		spec         *networking.ServiceEntry
		config       func(*config.Mesh)
		want         []string
		notEvaluated bool
	}{
		{
			name: "empty object",
			spec: &networking.ServiceEntry{},
		},
		{
			name: "null entries",
			spec: &networking.ServiceEntry{
				Hosts: []string{""}, Addresses: []string{""}, Resolution: static,
				Endpoints: []*networking.WorkloadEntry{nil, nil}, Ports: []*networking.ServicePort{nil},
			},
			want: []string{"serviceentry/static-endpoints spec.resolution STATIC"},
		},
		{
			name: "empty endpoint",
			spec: &networking.ServiceEntry{
				Hosts: []string{"db.example.com"}, Resolution: static, Endpoints: []*networking.WorkloadEntry{{}},
			},
			want: []string{"serviceentry/static-endpoints spec.resolution STATIC"},
		},
		{
			name: "null port without resolution",
			spec: &networking.ServiceEntry{Hosts: []string{"db.example.com"}, Ports: []*networking.ServicePort{nil}},
			want: []string{"serviceentry/open-proxy spec.ports[0] 0/unset"},
		},
		{
			name: "unknown protocol",
			spec: &networking.ServiceEntry{Hosts: []string{"db.example.com"}, Ports: []*networking.ServicePort{{Number: 9, Name: "x", Protocol: "SCTP"}}},
			want: []string{"serviceentry/open-proxy spec.ports[0] 9/unset"},
		},
		{
			name: "unknown location leads out",
			spec: &networking.ServiceEntry{Hosts: []string{"*.shop.svc"}, Location: 7, Ports: tls},
			want: []string{"serviceentry/wildcard-host spec.hosts[0] *.shop.svc", "serviceentry/cluster-name spec.hosts[0] *.shop.svc"},
		},
		{
			name: "bare wildcard",
			spec: &networking.ServiceEntry{Hosts: []string{"*"}, Ports: tls},
			want: []string{
				"serviceentry/wildcard-host spec.hosts[0] *",
				"serviceentry/public-suffix spec.hosts[0] *",
				"serviceentry/metadata-address spec.hosts[0] *",
				"serviceentry/cluster-name spec.hosts[0] *",
			},
		},
		{
			name: "unicode dots",
			spec: &networking.ServiceEntry{Hosts: []string{"*。github。io", "metadata．google．internal"}, Ports: tls},
			want: []string{
				"serviceentry/wildcard-host spec.hosts[0] *。github。io",
				"serviceentry/public-suffix spec.hosts[0] *。github。io",
				"serviceentry/metadata-address spec.hosts[1] metadata．google．internal",
			},
		},
		{
			name: "approved wildcard in another spelling",
			spec: &networking.ServiceEntry{Hosts: []string{"*.EU.Example.Org."}, Ports: tls},
		},
		{
			name: "unapproved wildcard with a NUL",
			spec: &networking.ServiceEntry{Hosts: []string{"*.example.com\x00.example.org"}, Ports: tls},
			want: []string{"serviceentry/wildcard-host spec.hosts[0] *.example.com\x00.example.org"},
		},
		{
			name: "host with a port",
			spec: &networking.ServiceEntry{Hosts: []string{"metadata.google.internal:80"}, Ports: tls},
			want: []string{"serviceentry/metadata-address spec.hosts[0] metadata.google.internal:80", "serviceentry/unresolved-host spec.resolution NONE"},
		},
		{
			name: "unix socket",
			spec: &networking.ServiceEntry{
				Hosts: []string{"*.shop.svc"}, Location: internal, Resolution: static, Ports: tls,
				Endpoints: []*networking.WorkloadEntry{{Address: "unix:///var/run/agent.sock"}, {Network: "datacenter"}},
			},
			want: []string{"serviceentry/local-endpoint spec.endpoints[0].address unix:///var/run/agent.sock", "serviceentry/cluster-name spec.hosts[0] *.shop.svc"},
		},
		{
			name: "addresses of unclear reach",
			spec: &networking.ServiceEntry{
				Hosts: []string{"*.shop.svc"}, Location: internal, Resolution: static, Ports: tls,
				Endpoints: []*networking.WorkloadEntry{{Address: "10.1.2.3"}},
			},
			want:         []string{"serviceentry/cluster-name spec.hosts[0] *.shop.svc"},
			notEvaluated: true,
		},
		{
			name: "addresses of unclear reach beside an external host",
			spec: &networking.ServiceEntry{
				Hosts: []string{"*.shop.svc"}, Location: internal, Resolution: networking.ServiceEntry_DNS, Ports: tls,
				Endpoints: []*networking.WorkloadEntry{{Address: "10.1.2.3"}, {Address: "www.example.com"}},
			},
			want: []string{
				"serviceentry/wildcard-host spec.hosts[0] *.shop.svc",
				"serviceentry/cluster-name spec.hosts[0] *.shop.svc",
				"serviceentry/endpoint-alias spec.endpoints[1].address www.example.com",
				"serviceentry/location spec.endpoints[1].address www.example.com",
			},
			notEvaluated: true,
		},
		{
			name: "addresses inside",
			spec: &networking.ServiceEntry{
				Hosts: []string{"*.shop.svc"}, Location: internal, Resolution: static, Ports: tls,
				Addresses: []string{"10.9.0.0/16", "no address"},
				Endpoints: []*networking.WorkloadEntry{{Address: "::ffff:10.1.2.3"}},
			},
			want:   []string{"serviceentry/cluster-name spec.hosts[0] *.shop.svc"},
			config: func(m *config.Mesh) { m.ClusterCIDRs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} },
		},
	}
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(t, err)
	pol := *policy.Default()
	pol.AllowedHosts = []policy.AllowedHost{{Host: "*.example.org"}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := *config.Default()
			if tt.config != nil {
				tt.config(&cfg.Mesh)
			}
			index := mesh.New(&cfg)
			index.SetComplete(analysis.Kinds()...)
			res := analysis.Check(suite, analysis.Input{Object: object(tt.spec), Policy: &pol, Config: &cfg, Mesh: index})
			require.Empty(t, res.Panics)
			var got []string
			for _, f := range res.Findings {
				got = append(got, fmt.Sprintf("%s %s %v", f.Rule.Name, f.Field, f.BadValue))
			}
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.notEvaluated, len(res.NotEvaluated) > 0)
		})
	}
}

// TestLargeObject has as much as fits into a request: many wildcards with many
// ports.
func TestLargeObject(t *testing.T) {
	spec := &networking.ServiceEntry{}
	for i := range 256 {
		spec.Hosts = append(spec.Hosts, fmt.Sprintf("*.h%d.example.org", i))
	}
	for i := range 1000 {
		ports := map[string]uint32{}
		for j := range 60 {
			ports[fmt.Sprintf("p%d", j)] = uint32(i*60 + j + 1)
		}
		spec.Endpoints = append(spec.Endpoints, &networking.WorkloadEntry{Address: "192.0.2.1", Ports: ports})
	}
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(t, err)
	pol := *policy.Default()
	pol.AllowedHosts = []policy.AllowedHost{{Host: "*.example.org", Ports: []uint32{443}}}
	res := analysis.Check(suite, analysis.Input{Object: object(spec), Policy: &pol})
	require.Greater(t, len(res.Findings), 256*16)
	require.Less(t, len(res.Findings), 260*16, "findings about ports are bounded")
}

// TestUnknownNamespaces has hosts of which only the namespaces can tell whether they
// are Services'.
func TestUnknownNamespaces(t *testing.T) {
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(t, err)
	for h, want := range map[string]bool{"reviews.prod": true, "Reviews.prod.": true, "api.example.com": false, "reviews.default": false} {
		res := analysis.Check(suite, analysis.Input{Object: object(&networking.ServiceEntry{Hosts: []string{h}})})
		require.Equal(t, want, slices.ContainsFunc(res.NotEvaluated, func(n analysis.NotEvaluated) bool {
			return n.Rule.Name == "serviceentry/cluster-name"
		}), h)
	}
}

// TestUnknownObjects has rules that depend on others' objects, none of which are
// known.
func TestUnknownObjects(t *testing.T) {
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(t, err)
	se := object(&networking.ServiceEntry{
		Hosts: []string{"api.example.com"}, Addresses: []string{"192.0.2.1"}, Resolution: networking.ServiceEntry_DNS,
		Ports: []*networking.ServicePort{{Number: 443, Name: "http", Protocol: "HTTP"}},
	})
	se.Spec.SubjectAltNames = []string{"api.example.com"}
	var got []string
	for _, n := range analysis.Check(suite, analysis.Input{Object: se}).NotEvaluated {
		got = append(got, n.Rule.Name)
	}
	require.Equal(t, []string{
		"serviceentry/host-owner", "serviceentry/plaintext", "serviceentry/port-collision",
		"serviceentry/address-collision", "serviceentry/subject-alt-names",
	}, got)
}

// TestManyNames has subjectAltNames without end, and long hosts to compare each
// with.
func TestManyNames(t *testing.T) {
	se := object(&networking.ServiceEntry{
		Hosts:      []string{"api.example.com"},
		Ports:      []*networking.ServicePort{{Number: 80, Name: "http", Protocol: "HTTP"}},
		Resolution: networking.ServiceEntry_DNS,
	})
	for i := range 255 {
		se.Spec.Hosts = append(se.Spec.Hosts, fmt.Sprintf("h%d%s.example.com", i, strings.Repeat(".a", 1000)))
	}
	for i := range 50_000 {
		se.Spec.SubjectAltNames = append(se.Spec.SubjectAltNames, "api.example.com", fmt.Sprintf("x%d", i))
	}
	index := mesh.New(config.Default())
	index.Set(&networkingv1.DestinationRule{
		ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: "shop"},
		Spec: networking.DestinationRule{Host: "api.example.com", TrafficPolicy: &networking.TrafficPolicy{
			Tls: &networking.ClientTLSSettings{Mode: networking.ClientTLSSettings_SIMPLE},
		}},
	})
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(t, err)
	names := 0
	for _, f := range analysis.Check(suite, analysis.Input{Object: se, Mesh: index}).Findings {
		if f.Rule.Name == "serviceentry/subject-alt-names" {
			names++
		}
	}
	require.Equal(t, 16, names, "findings about names are bounded")
}

func object(spec *networking.ServiceEntry) *networkingv1.ServiceEntry {
	// Not a deep copy, which makes empty messages of null entries.
	return &networkingv1.ServiceEntry{
		ObjectMeta: metav1.ObjectMeta{Name: "test", Namespace: "shop"},
		Spec: networking.ServiceEntry{
			Hosts: spec.GetHosts(), Addresses: spec.GetAddresses(), Ports: spec.GetPorts(), Endpoints: spec.GetEndpoints(),
			Location: spec.GetLocation(), Resolution: spec.GetResolution(), ExportTo: spec.GetExportTo(),
		},
	}
}

func BenchmarkCheck(b *testing.B) {
	objects := map[string]*networking.ServiceEntry{
		"typical": {
			Hosts:      []string{"api.example.com", "www.example.com"},
			Resolution: networking.ServiceEntry_DNS,
			Ports: []*networking.ServicePort{
				{Number: 80, Name: "http", Protocol: "HTTP"},
				{Number: 443, Name: "https", Protocol: "HTTPS"},
			},
			ExportTo: []string{"."},
		},
		"static": {
			Hosts:      []string{"db.example.com"},
			Addresses:  []string{"192.0.2.10", "192.0.2.11"},
			Resolution: networking.ServiceEntry_STATIC,
			Ports:      []*networking.ServicePort{{Number: 5432, Name: "tcp", Protocol: "TCP"}},
			Endpoints:  []*networking.WorkloadEntry{{Address: "192.0.2.10"}, {Address: "192.0.2.11"}},
		},
		"wildcard": {
			Hosts: []string{"*.example.org"},
			Ports: []*networking.ServicePort{{Number: 443, Name: "https", Protocol: "HTTPS"}},
		},
		"denied": {
			Hosts: []string{"*.github.io"},
			Ports: []*networking.ServicePort{{Number: 443, Name: "https", Protocol: "TCP"}},
		},
	}
	suite, err := analysis.NewSuite(serviceentry.Rules...)
	require.NoError(b, err)
	pol := *policy.Default()
	pol.AllowedHosts = []policy.AllowedHost{{Host: "*.example.org"}}
	for name, spec := range objects {
		in := analysis.Input{Object: object(spec), Policy: &pol}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				analysis.Check(suite, in)
			}
		})
	}
}
