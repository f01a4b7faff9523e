// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	typev1beta1 "istio.io/api/type/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
)

// matches compares a name with a host label by label, from the right.
func matches(h, name string) bool {
	pattern, labels := strings.Split(h, "."), strings.Split(name, ".")
	for len(pattern) > 0 && len(labels) > 0 {
		p, l := pattern[len(pattern)-1], labels[len(labels)-1]
		if rest, ok := strings.CutPrefix(p, "*"); ok {
			return strings.HasSuffix(l, rest) && (rest != "" || len(pattern) == 1)
		}
		if p != l {
			return false
		}
		pattern, labels = pattern[:len(pattern)-1], labels[:len(labels)-1]
	}
	return len(pattern) == 0 && len(labels) == 0
}

// isBelow reports whether a claim to host counts against a newcomer's: it is the
// same, or everything that it matches is matched by the newcomer.
func isBelow(newcomer, host string) bool {
	return newcomer == host || strings.HasPrefix(newcomer, "*") && matches(newcomer, strings.Replace(host, "*", "x", 1))
}

func seesBoth(a, b *networkingv1.ServiceEntry) bool {
	for _, namespace := range append(someNamespaces, "elsewhere") {
		_, seesA := tierOf(a, namespace)
		_, seesB := tierOf(b, namespace)
		if seesA && seesB {
			return true
		}
	}
	return false
}

func randomClaimant(random *rand.Rand, i int) *networkingv1.ServiceEntry {
	exportTo := [][]string{nil, {"."}, {"a", "."}, {"b"}, {"c", "elsewhere"}}[random.IntN(5)]
	se := entry(someNamespaces[random.IntN(3)], fmt.Sprintf("e%d", i), random.IntN(4), exportTo, someHosts[random.IntN(len(someHosts))])
	se.Spec.Addresses = []string{fmt.Sprintf("10.0.%d.%d/%d", random.IntN(3), random.IntN(256), 20+random.IntN(13))}
	return se
}

// TestClaims: answers are those of an oracle that looks at everything.
func TestClaims(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		x := New(config.Default())
		var all []*networkingv1.ServiceEntry
		for i := range 12 {
			all = append(all, randomClaimant(random, i))
		}
		for _, i := range random.Perm(len(all)) {
			x.Set(all[i])
		}
		newcomer := randomClaimant(random, 99)
		if random.IntN(2) == 0 {
			newcomer = all[0]
		}
		older := func(se *networkingv1.ServiceEntry) bool {
			return se != newcomer && (newcomer.Name == "e99" || byAge(se, newcomer) < 0) && seesBoth(se, newcomer)
		}

		h := newcomer.Spec.GetHosts()[0]
		claims, complete := x.HostClaims(analysis.ServiceEntry, newcomer, h)
		require.True(t, complete)
		require.Equal(t, expect(all, func(se *networkingv1.ServiceEntry) bool { return older(se) && isBelow(h, se.Spec.GetHosts()[0]) }), nameAll(claims), h)
		keys := make([]string, 0, len(claims))
		for _, c := range claims {
			keys = append(keys, hostKey(c.(*networkingv1.ServiceEntry).Spec.GetHosts()[0]))
		}
		require.True(t, slices.IsSorted(keys), "in the order of hosts")

		p, _ := cidr.Parse(newcomer.Spec.GetAddresses()[0])
		claims, complete = x.AddressClaims(analysis.ServiceEntry, newcomer, p)
		require.True(t, complete)
		require.Equal(t, expect(all, func(se *networkingv1.ServiceEntry) bool {
			q, _ := cidr.Parse(se.Spec.GetAddresses()[0])
			return older(se) && p.Overlaps(q)
		}), nameAll(claims), p.String())

		for _, se := range all {
			x.Delete(analysis.ServiceEntry, se.Namespace, se.Name)
		}
		require.Zero(t, x.hostClaims[analysis.ServiceEntry].order.Len(), "nothing is left behind")
		require.Zero(t, x.addressClaims[analysis.ServiceEntry].claims.order.Len(), "nothing is left behind")
		require.Zero(t, x.addressClaims[analysis.ServiceEntry].lengths, "nothing is left behind")
	}
}

func expect(all []*networkingv1.ServiceEntry, wanted func(*networkingv1.ServiceEntry) bool) []string {
	var found []string
	for _, se := range all {
		if wanted(se) {
			found = append(found, se.Namespace+"/"+se.Name)
		}
	}
	slices.Sort(found)
	return found
}

func nameAll[T metav1.Object](objects []T) []string {
	var found []string
	for _, o := range objects {
		found = append(found, o.GetNamespace()+"/"+o.GetName())
	}
	slices.Sort(found)
	return found
}

// TestClaimsAreBounded: many claims of one's own do not make a question long, and
// that there may be more is said.
func TestClaimsAreBounded(t *testing.T) {
	x := New(config.Default())
	for i := range 2 * maxVisits {
		x.Set(entry("a", fmt.Sprintf("e%d", i), 1, nil, fmt.Sprintf("h%d.example.com", i)))
	}
	claims, complete := x.HostClaims(analysis.ServiceEntry, entry("b", "new", 0, nil), "*.example.com")
	require.Len(t, claims, analysis.MaxClaims)
	require.False(t, complete)
	x.Set(entry("b", "old", 9, []string{"a"}, "*.example.com"))
	claims, complete = x.HostClaims(analysis.ServiceEntry, entry("b", "old", 9, []string{"a"}, "*.example.com"), "*.example.com")
	require.Empty(t, claims, "all are younger")
	require.False(t, complete)
	for _, wider := range [][]string{nil, {"a", "c"}} {
		claims, _ = x.HostClaims(analysis.ServiceEntry, entry("b", "old", 9, wider, "*.example.com"), "*.example.com")
		require.NotEmpty(t, claims, "for more namespaces it is a new claim")
	}
	claims, _ = x.HostClaims(analysis.ServiceEntry, entry("b", "old", 9, []string{"a"}), "*.h7.example.com")
	require.Empty(t, claims, "nobody has that")
	claims, _ = x.HostClaims(analysis.ServiceEntry, entry("b", "old", 9, []string{"a"}), "h7.example.com")
	require.Len(t, claims, 1, "another host is a new claim")
	claims, complete = x.HostClaims(analysis.ServiceEntry, entry("b", "new", 0, nil), "h7.example.com")
	require.Len(t, claims, 1)
	require.True(t, complete)
}

// TestOwnClaimsHideNobody: however many claims the own namespace has, those of others
// are found, or there may be more.
func TestOwnClaimsHideNobody(t *testing.T) {
	for _, own := range []int{analysis.MaxClaims, 3 * analysis.MaxClaims, maxVisits / 2, 2 * maxVisits} {
		x := New(config.Default())
		for i := range own {
			x.Set(entry("mine", fmt.Sprintf("e%d", i), 1, nil, fmt.Sprintf("a%d.example.com", i)))
		}
		x.Set(entry("victim", "bank", 1, nil, "z.example.com"))
		claims, complete := x.HostClaims(analysis.ServiceEntry, entry("mine", "new", 0, nil), "*.example.com")
		if own < maxVisits {
			require.Contains(t, nameAll(claims), "victim/bank", own)
			require.True(t, complete, own)
		} else {
			require.False(t, complete, own)
		}
	}
}

func TestClaimsOfVirtualServices(t *testing.T) {
	x := New(config.Default())
	x.Set(virtualService("a", "short", 1, nil, nil, "reviews"))
	x.Set(virtualService("a", "ingress", 1, nil, []string{"istio-system/ingress"}, "www.example.com"))
	x.Set(virtualService("a", "both", 1, nil, []string{"istio-system/ingress", "mesh"}, "API.example.com."))
	newcomer := virtualService("b", "new", 0, nil, nil)
	for h, want := range map[string][]string{
		"reviews.a.svc.cluster.local": {"a/short"}, "reviews.b.svc.cluster.local": nil, "www.example.com": {"a/ingress"}, "api.example.com": {"a/both"},
	} {
		claims, _ := x.HostClaims(analysis.VirtualService, newcomer, h)
		require.Equal(t, want, nameAll(claims), h)
	}
	claims, complete := x.HostClaims(analysis.Gateway, newcomer, "www.example.com")
	require.Empty(t, claims, "Gateways claim no hosts")
	require.True(t, complete)
}

func TestPortClaims(t *testing.T) {
	x := New(config.Default())
	withPort := func(name, protocol string, addresses ...string) *networkingv1.ServiceEntry {
		se := entry("a", name, 1, nil, name+".example.com")
		se.Spec.Ports = []*networking.ServicePort{{Number: 3306, Name: "db", Protocol: protocol}, nil}
		se.Spec.Addresses = addresses
		return se
	}
	x.Set(withPort("tcp", "TCP"))
	x.Set(withPort("sniffed", ""))
	x.Set(withPort("udp", "UDP"))
	x.Set(withPort("tls", "TLS"))
	x.Set(withPort("with-address", "TCP", "192.0.2.1"))
	claims, complete := x.PortClaims(entry("b", "new", 0, nil), 3306)
	require.Equal(t, []string{"a/sniffed", "a/tcp"}, nameAll(claims))
	require.True(t, complete)
	claims, _ = x.PortClaims(entry("b", "new", 0, []string{"."}), 3306)
	require.Equal(t, []string{"a/sniffed", "a/tcp"}, nameAll(claims), "what is public is seen there too")
	claims, _ = x.PortClaims(entry("b", "new", 0, nil), 330)
	require.Empty(t, claims)
}

func TestAddressesOfServices(t *testing.T) {
	x := New(config.Default())
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "db"}}
	svc.Spec.ClusterIP, svc.Spec.ClusterIPs = "10.96.0.7", []string{"10.96.0.7", "fd00::7"}
	svc.Spec.ExternalIPs = []string{"198.51.100.7"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.7"}, {Hostname: "lb.example.com"}}
	headless := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "headless"}}
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	x.Set(svc)
	x.Set(headless)
	old := entry("b", "old", 9, []string{"."})
	x.Set(old)
	for _, p := range []string{"10.96.0.7/32", "10.96.0.0/16", "::ffff:10.96.0.7/128", "fd00::/64", "198.51.100.7/32", "203.0.113.0/24", "0.0.0.0/0", "::/0"} {
		claims, _ := x.AddressClaims(analysis.Service, old, netip.MustParsePrefix(p))
		require.Equal(t, []string{"a/db"}, nameAll(claims), p)
	}
	for _, p := range []string{"10.96.0.8/32", "fd00::8/128", "10.97.0.0/16"} {
		claims, _ := x.AddressClaims(analysis.Service, old, netip.MustParsePrefix(p))
		require.Empty(t, claims, p)
	}
	claims, _ := x.AddressClaims(analysis.Service, old, netip.Prefix{})
	require.Empty(t, claims)
}

func virtualService(namespace, name string, age int, exportTo, gateways []string, hosts ...string) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: entry(namespace, name, age, nil).ObjectMeta}
	vs.Spec.Hosts, vs.Spec.Gateways, vs.Spec.ExportTo = hosts, gateways, exportTo
	return vs
}

// TestVirtualService: private before exported before public, each by age.
func TestVirtualService(t *testing.T) {
	x := New(config.Default())
	x.Set(virtualService("b", "public-old", 9, nil, nil, "api.example.com"))
	x.Set(virtualService("a", "public", 5, nil, nil, "api.example.com"))
	x.Set(virtualService("b", "wildcard", 9, nil, nil, "*.example.com"))
	x.Set(virtualService("b", "for-c", 1, []string{"c"}, nil, "api.example.com"))
	x.Set(virtualService("d", "private", 1, []string{"."}, nil, "api.example.com"))
	x.Set(virtualService("d", "gateway", 9, nil, []string{"istio-system/ingress"}, "other.example.com"))
	for _, tt := range []struct{ namespace, host, want string }{
		{"a", "api.example.com", "b/public-old"}, // one's own is not preferred unless it is private
		{"c", "api.example.com", "b/for-c"},
		{"d", "api.example.com", "d/private"},
		{"a", "www.example.com", "b/wildcard"},
		{"a", "*.example.com", "b/wildcard"},
		{"a", "other.example.com", "b/wildcard"},
		{"a", "example.com", ""},
	} {
		vs := x.VirtualService(tt.namespace, tt.host)
		got := ""
		if vs != nil {
			got = vs.Namespace + "/" + vs.Name
		}
		require.Equal(t, tt.want, got, tt)
	}
}

func destinationRule(namespace, name, host string, exportTo ...string) *networkingv1.DestinationRule {
	dr := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	dr.Spec.Host, dr.Spec.ExportTo = host, exportTo
	return dr
}

// TestDestinationRule: the client's namespace, the provider's, the root namespace.
func TestDestinationRule(t *testing.T) {
	x := New(config.Default())
	x.Set(destinationRule("client", "wildcard", "*.example.com"))
	x.Set(destinationRule("provider", "exported", "db.example.org"))
	x.Set(destinationRule("provider", "private", "private.example.org", "."))
	x.Set(destinationRule("provider", "for-client", "named.example.org", "client"))
	x.Set(destinationRule("provider", "behind", "api.example.com"))
	x.Set(destinationRule("istio-system", "root", "*.example.org"))
	x.Set(destinationRule("istio-system", "hidden", "*.example.net", "."))
	x.Set(destinationRule("third", "not-asked", "third.example.com"))
	some := destinationRule("client", "some-pods", "db.example.org")
	some.Spec.WorkloadSelector = &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{"app": "web"}}
	x.Set(some)
	x.Set(destinationRule("client", "short", "reviews"))
	for _, tt := range []struct{ namespace, host, want string }{
		{"client", "api.example.com", "client/wildcard"},
		{"other", "api.example.com", "provider/behind"},
		{"client", "db.example.org", "provider/exported"},
		{"provider", "private.example.org", "provider/private"},
		{"client", "private.example.org", "istio-system/root"},
		{"client", "named.example.org", "provider/for-client"},
		{"other", "named.example.org", "istio-system/root"},
		{"client", "x.example.net", ""},
		{"istio-system", "x.example.net", "istio-system/hidden"},
		{"istio-system", "db.example.org", "provider/exported"},
		{"other", "third.example.com", ""},
		{"client", "reviews.client.svc.cluster.local", "client/short"},
	} {
		dr := x.DestinationRule(tt.namespace, tt.host, "provider")
		got := ""
		if dr != nil {
			got = dr.Namespace + "/" + dr.Name
		}
		require.Equal(t, tt.want, got, tt)
	}
	x.Delete(analysis.DestinationRule, "third", "not-asked")
	require.NotContains(t, x.destinationRules, "third", "nothing is left behind")
}

func TestGateways(t *testing.T) {
	x := New(config.Default())
	gateway := func(namespace, name string, selector map[string]string) *networkingv1.Gateway {
		g := &networkingv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		g.Spec.Selector = selector
		return g
	}
	x.Set(gateway("a", "all", nil))
	x.Set(gateway("b", "egress", map[string]string{"istio": "egressgateway"}))
	x.Set(gateway("b", "both", map[string]string{"istio": "egressgateway", "app": "egress"}))
	x.Set(gateway("b", "more", map[string]string{"istio": "egressgateway", "zone": "eu"}))
	x.Set(gateway("b", "ingress", map[string]string{"istio": "ingressgateway"}))
	pods := map[string]string{"istio": "egressgateway", "app": "egress", "pod": "x"}
	require.Equal(t, []string{"a/all", "b/both", "b/egress"}, nameAll(x.Gateways(pods)))
	x.Set(gateway("b", "egress", map[string]string{"istio": "ingressgateway"}))
	x.Delete(analysis.Gateway, "a", "all")
	require.Equal(t, []string{"b/both"}, nameAll(x.Gateways(pods)))
	require.Empty(t, x.Gateways(nil))
	require.Len(t, x.gateways, 2)
}

func TestObjectsByName(t *testing.T) {
	x := New(config.Default())
	policy := func(namespace, name string) *securityv1.AuthorizationPolicy {
		return &securityv1.AuthorizationPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	x.Set(policy("a", "y"))
	x.Set(policy("a", "x"))
	x.Set(policy("b", "z"))
	x.Set(policy("a", "x"))
	before := x.AuthorizationPolicies("a")
	require.Equal(t, []string{"a/x", "a/y"}, nameAll(before))
	x.Delete(analysis.AuthorizationPolicy, "a", "x")
	require.Equal(t, []string{"a/y"}, nameAll(x.AuthorizationPolicies("a")))
	require.Equal(t, []string{"a/x", "a/y"}, nameAll(before), "what was handed out does not change")
	require.NotNil(t, x.Object(analysis.AuthorizationPolicy, "a", "y"))
	require.Nil(t, x.Object(analysis.AuthorizationPolicy, "a", "x"))
	x.Set(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "prod"}})
	require.Equal(t, "prod", x.Object(analysis.Namespace, "", "prod").GetName())
	require.Nil(t, x.Object(analysis.Service, "", "prod"))
}

func TestByAge(t *testing.T) {
	old, young, fromFile := entry("b", "x", 5, nil), entry("a", "x", 1, nil), entry("a", "x", 0, nil)
	fromFile.CreationTimestamp = metav1.Time{}
	list := []*networkingv1.ServiceEntry{fromFile, young, old}
	slices.SortFunc(list, byAge)
	require.Equal(t, []*networkingv1.ServiceEntry{old, young, fromFile}, list)
	require.Zero(t, cmp.Compare(byAge(fromFile, fromFile), 0))
}
