// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// A sighting is one host of one entry, as seen from a namespace.
type sighting struct {
	se     *networkingv1.ServiceEntry
	length int // of the wildcard; a name is longer than all
	tier   tier
}

// oracle answers what [Index.ServiceEntry] does, by looking at everything.
func oracle(entries []*networkingv1.ServiceEntry, namespace, name string) string {
	var claims []sighting
	for _, se := range entries {
		tier, seen := tierOf(se, namespace)
		if !seen {
			continue
		}
		for _, h := range se.Spec.GetHosts() {
			switch {
			case h == name:
				claims = append(claims, sighting{se, 1000, tier})
			case host.IsWildcard(h) && host.Covers(h, name):
				claims = append(claims, sighting{se, len(h), tier})
			}
		}
	}
	if len(claims) == 0 {
		return ""
	}
	best := slices.MinFunc(claims, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(b.length, a.length), cmp.Compare(a.tier, b.tier), byAge(a.se, b.se))
	}).se
	return best.Namespace + "/" + best.Name
}

func tierOf(se *networkingv1.ServiceEntry, namespace string) (tier, bool) {
	exportTo, own := se.Spec.GetExportTo(), se.Namespace == namespace
	named := slices.Contains(exportTo, namespace) || own && slices.Contains(exportTo, ".")
	switch public := len(exportTo) == 0 || slices.Contains(exportTo, "*"); {
	case public && own:
		return ownPublic, true
	case public:
		return othersPublic, true
	case named && own:
		return ownPrivate, true
	default:
		return othersNamed, named
	}
}

var (
	someHosts = []string{
		"a.example.com", "b.example.com", "*.example.com", "*.b.example.com", "*b.example.com", "*.com", "*xample.com", "*-b.example.com", "x.y.b.example.com",
		"example.com", "*m",
	}
	someNames = []string{
		"a.example.com", "b.example.com", "x.b.example.com", "x-b.example.com", "x.y.b.example.com", "y.b.example.com", "example.com", "bexample.com",
		"other.com", "other.org", "com",
	}
	someNamespaces = []string{"a", "b", "c"}
)

func randomEntry(random *rand.Rand) *networkingv1.ServiceEntry {
	exportTo := [][]string{nil, {"."}, {"a", "."}, {"~"}, {"b"}, {"*"}, {"a", "c"}}[random.IntN(7)]
	return entry(someNamespaces[random.IntN(3)], strconv.Itoa(random.IntN(4)), random.IntN(3), exportTo,
		someHosts[random.IntN(len(someHosts))], someHosts[random.IntN(len(someHosts))])
}

// TestOracle: the index says what a look at everything says, after any changes.
func TestOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		x, all := New(config.Default()), map[string]*networkingv1.ServiceEntry{}
		for range 15 {
			se := randomEntry(random)
			if random.IntN(4) == 0 {
				x.Delete(analysis.ServiceEntry, se.Namespace, se.Name)
				delete(all, se.Namespace+"/"+se.Name)
				continue
			}
			x.Set(se)
			all[se.Namespace+"/"+se.Name] = se
		}
		var entries []*networkingv1.ServiceEntry
		for _, se := range all {
			entries = append(entries, se)
		}
		for _, namespace := range someNamespaces {
			for _, name := range someNames {
				require.Equal(t, oracle(entries, namespace, name), lookup(x, namespace, name), "%s from %s", name, namespace)
			}
		}
	}
}

// TestHostileNames: no name, however long, takes long.
func TestHostileNames(t *testing.T) {
	x := New(config.Default())
	x.Set(entry("a", "x", 1, nil, "*.example.com", "*x.example.com", "*z"))
	require.Equal(t, "a/x", lookup(x, "a", strings.Repeat("x", 1<<20)+".example.com"))
	require.Empty(t, lookup(x, "a", strings.Repeat("y", 1<<20)))
	require.Equal(t, "a/x", lookup(x, "a", strings.Repeat("x.", 1<<20)+"example.com"))
	for _, name := range []string{"", ".", "..", ".com", "com.", "*", "a..com"} {
		require.NotPanics(t, func() { lookup(x, "a", name) }, name)
	}
}

func TestReadersAndWriters(t *testing.T) {
	x := New(config.Default())
	stays := entry("a", "stays", 9, nil, "stays.example.org")
	x.Set(stays)
	var group sync.WaitGroup
	for seed := range uint64(4) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 500 {
				x.Set(randomEntry(random))
				x.Delete(analysis.ServiceEntry, "b", strconv.Itoa(random.IntN(4)))
				x.SetComplete(analysis.ServiceEntry)
			}
		})
		group.Go(func() {
			for range 2000 {
				if lookup(x, "b", "stays.example.org") != "a/stays" {
					t.Error("an entry that is there was not found")
				}
				x.ServiceEntry("c", "b.example.com")
				x.Complete(analysis.ServiceEntry)
			}
		})
	}
	group.Wait()
}
