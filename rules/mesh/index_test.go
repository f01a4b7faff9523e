// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
)

func entry(namespace, name string, age int, exportTo []string, hosts ...string) *networkingv1.ServiceEntry {
	se := &networkingv1.ServiceEntry{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			CreationTimestamp: metav1.NewTime(time.Date(2026-age, 1, 1, 0, 0, 0, 0, time.UTC)),
		},
	}
	se.Spec.Hosts, se.Spec.ExportTo = hosts, exportTo
	se.Spec.Resolution = networking.ServiceEntry_DNS
	return se
}

func TestServiceEntry(t *testing.T) {
	tests := []struct {
		name    string
		entries []*networkingv1.ServiceEntry
		from    string
		host    string
		want    string
	}{
		{"nobody declares it", nil, "a", "api.example.com", ""},
		{"public by default", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "api.example.com")}, "a", "api.example.com", "b/x"},
		{"other spellings", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "API.Example.com.")}, "a", "api.example.com", "b/x"},
		{"private", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"."}, "api.example.com")}, "a", "api.example.com", ""},
		{"private, in its namespace", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"b"}, "api.example.com")}, "b", "api.example.com", "b/x"},
		{"exported to the namespace", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"c", "a"}, "api.example.com")}, "a", "api.example.com", "b/x"},
		{"exported to others alone", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"c"}, "api.example.com")}, "b", "api.example.com", ""},
		{"exported to nobody", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"~"}, "api.example.com")}, "b", "api.example.com", ""},
		{"exported to nobody and to the namespace", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"a", "~"}, "api.example.com")}, "a", "api.example.com", ""},
		{"the oldest wins", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "api.example.com"), entry("c", "x", 2, nil, "api.example.com")}, "a", "api.example.com", "c/x"},
		{"an older one for the namespace wins", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "api.example.com"), entry("c", "x", 2, []string{"a"}, "api.example.com")}, "a", "api.example.com", "c/x"},
		{"a younger one for the namespace wins over a public one", []*networkingv1.ServiceEntry{entry("b", "x", 2, nil, "api.example.com"), entry("c", "x", 1, []string{"d", "a"}, "api.example.com")}, "a", "api.example.com", "c/x"},
		{"the namespace's own wins over one for it", []*networkingv1.ServiceEntry{entry("a", "x", 1, nil, "api.example.com"), entry("c", "x", 2, []string{"a"}, "api.example.com")}, "a", "api.example.com", "a/x"},
		{"the namespace's private one wins over its public one", []*networkingv1.ServiceEntry{entry("a", "x", 2, nil, "api.example.com"), entry("a", "y", 1, []string{"."}, "api.example.com")}, "a", "api.example.com", "a/y"},
		{"its own name is like a dot", []*networkingv1.ServiceEntry{entry("a", "x", 2, nil, "api.example.com"), entry("a", "y", 1, []string{"b", "a"}, "api.example.com")}, "a", "api.example.com", "a/y"},
		{"public and more is public", []*networkingv1.ServiceEntry{entry("b", "x", 1, []string{"c", "*"}, "api.example.com")}, "a", "api.example.com", "b/x"},
		{"the namespace's own wins", []*networkingv1.ServiceEntry{entry("a", "x", 1, nil, "api.example.com"), entry("c", "x", 2, nil, "api.example.com")}, "a", "api.example.com", "a/x"},
		{"of equal age the first name wins", []*networkingv1.ServiceEntry{entry("c", "x", 1, nil, "api.example.com"), entry("b", "y", 1, nil, "api.example.com")}, "a", "api.example.com", "b/y"},
		{"a wildcard", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "*.example.com")}, "a", "v1.api.example.com", "b/x"},
		{"a wildcard does not match its base", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "*.example.com")}, "a", "example.com", ""},
		{"a partial wildcard", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "*-api.example.com")}, "a", "v1.eu-api.example.com", "b/x"},
		{"a partial wildcard does not match another end", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "*-api.example.com")}, "a", "eu-apis.example.com", ""},
		{"a partial wildcard is longer than a whole one", []*networkingv1.ServiceEntry{entry("b", "x", 2, nil, "*.example.com"), entry("b", "y", 1, nil, "*-api.example.com")}, "a", "eu-api.example.com", "b/y"},
		{"of partial wildcards the longer wins", []*networkingv1.ServiceEntry{entry("b", "x", 2, nil, "*i.example.com"), entry("b", "y", 1, nil, "*-api.example.com")}, "a", "eu-api.example.com", "b/y"},
		{"a wildcard of everything", []*networkingv1.ServiceEntry{entry("b", "x", 1, nil, "*")}, "a", "eu-api.example.com", "b/x"},
		{"an exact host wins over a wildcard", []*networkingv1.ServiceEntry{entry("a", "x", 2, nil, "*.example.com"), entry("b", "x", 1, nil, "api.example.com")}, "a", "api.example.com", "b/x"},
		{"the longer wildcard wins", []*networkingv1.ServiceEntry{entry("b", "x", 2, nil, "*.example.com"), entry("b", "y", 1, nil, "*.api.example.com")}, "a", "v1.api.example.com", "b/y"},
		{"a wildcard stands in for an exact host that is not seen", []*networkingv1.ServiceEntry{entry("b", "x", 2, nil, "*.example.com"), entry("b", "y", 1, []string{"."}, "api.example.com")}, "a", "api.example.com", "b/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := New(config.Default())
			for _, se := range tt.entries {
				x.Set(se)
			}
			require.Equal(t, tt.want, lookup(x, tt.from, tt.host))
		})
	}
}

func lookup(x *Index, namespace, host string) string {
	se := x.ServiceEntry(namespace, host)
	if se == nil {
		return ""
	}
	return se.Namespace + "/" + se.Name
}

func TestServiceEntryByConfiguration(t *testing.T) {
	private, err := config.Parse([]byte("apiVersion: config.sallyport.dev/v1alpha1\nkind: Configuration\nmesh: {defaultExportTo: {serviceEntry: [.]}}"))
	require.NoError(t, err)
	x := New(private)
	x.Set(entry("b", "x", 1, nil, "api.example.com"))
	require.Empty(t, lookup(x, "a", "api.example.com"), "private is the mesh's default")

	ambient, err := config.Parse([]byte("apiVersion: config.sallyport.dev/v1alpha1\nkind: Configuration\nmesh: {dataPlane: Ambient}"))
	require.NoError(t, err)
	x = New(ambient)
	x.Set(entry("b", "x", 1, []string{"."}, "api.example.com"))
	require.Equal(t, "b/x", lookup(x, "a", "api.example.com"), "ambient does not look at exportTo")
}

func TestComplete(t *testing.T) {
	x := New(config.Default())
	require.False(t, x.Complete(analysis.ServiceEntry))
	x.SetComplete(analysis.ServiceEntry)
	require.True(t, x.Complete(analysis.ServiceEntry))
	require.False(t, x.Complete(analysis.Gateway))
}

// TestChangedInPlace: the command line mutates objects that are in the index.
func TestChangedInPlace(t *testing.T) {
	x := New(config.Default())
	se := entry("b", "x", 1, nil, "api.example.com")
	x.Set(se)
	se.Spec.ExportTo, se.Spec.Hosts = []string{"."}, []string{"www.example.com"}
	x.Set(se)
	require.Empty(t, lookup(x, "a", "api.example.com"))
	require.Empty(t, lookup(x, "a", "www.example.com"))
	require.Equal(t, "b/x", lookup(x, "b", "www.example.com"))
}

func TestOtherKinds(t *testing.T) {
	x := New(config.Default())
	x.Set(entry("a", "x", 1, nil, "api.example.com"))
	x.Set(&networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}})
	x.Delete(analysis.VirtualService, "a", "x")
	require.Equal(t, "a/x", lookup(x, "a", "api.example.com"))
	x.Delete(analysis.ServiceEntry, "a", "y")
	require.Equal(t, "a/x", lookup(x, "a", "api.example.com"))
	x.Delete(analysis.ServiceEntry, "a", "x")
	require.Empty(t, lookup(x, "a", "api.example.com"))
}

// TestOrderOfChanges: answers depend on what is there, not on how it came.
func TestOrderOfChanges(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hosts := []string{"a.example.com", "b.example.com", "*.example.com", "*.b.example.com"}
	namespaces := []string{"a", "b", "c"}
	for range 200 {
		final := map[string]*networkingv1.ServiceEntry{}
		churned := New(config.Default())
		for range 40 {
			namespace, name := namespaces[random.IntN(3)], strconv.Itoa(random.IntN(4))
			if random.IntN(4) == 0 {
				churned.Delete(analysis.ServiceEntry, namespace, name)
				delete(final, namespace+"/"+name)
				continue
			}
			exportTo := [][]string{nil, {"."}, {"a", "."}, {"~"}, {"b"}}[random.IntN(5)]
			se := entry(namespace, name, random.IntN(3), exportTo, hosts[random.IntN(4)], hosts[random.IntN(4)])
			churned.Set(se)
			final[namespace+"/"+name] = se
		}
		fresh := New(config.Default())
		for _, se := range final { // in random order
			fresh.Set(se)
		}
		for _, namespace := range namespaces {
			for _, host := range []string{"a.example.com", "b.example.com", "x.b.example.com", "example.com"} {
				require.Equal(t, lookup(fresh, namespace, host), lookup(churned, namespace, host))
			}
		}
		for key, se := range final {
			fresh.Delete(analysis.ServiceEntry, se.Namespace, se.Name)
			delete(final, key)
		}
		require.Empty(t, fresh.objects[analysis.ServiceEntry])
		require.Empty(t, fresh.serviceEntries.children, "nothing is left behind")
		require.Empty(t, fresh.serviceEntries.wildcards, "nothing is left behind")
	}
}
