// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSetShares(t *testing.T) {
	docs := parse(t,
		egressPolicy("all", "namespaceSelector: {}"),
		egressPolicy("paid", "namespaceSelector: {matchLabels: {tier: paid}}"),
		exemption("x", `rules: [serviceentry/open-proxy], namespace: special, kind: ServiceEntry, expiresAt: "2027-01-01T00:00:00Z", reason: r`))
	set, err := Compile(docs.Policies, docs.Exemptions)
	require.NoError(t, err)
	free, paid := map[string]string{"team": "a"}, map[string]string{"tier": "paid"}

	require.Same(t, set.For("a", free), set.For("a", free))
	require.Same(t, set.For("a", free), set.For("b", nil), "whatever the labels, if they select the same")
	require.NotSame(t, set.For("a", free), set.For("special", free), "exemptions are the namespace's own")
	require.Empty(t, set.For("b", free).Exemptions)
	require.Len(t, set.For("special", free).Exemptions, 1)

	require.Equal(t, []string{"all"}, set.For("a", free).Sources)
	require.Equal(t, []string{"all", "paid"}, set.For("a", paid).Sources, "other labels")
	paid["tier"] = "free"
	require.Equal(t, []string{"all"}, set.For("a", paid).Sources, "labels that were changed in place")
}

func TestSetForgets(t *testing.T) {
	set, err := Compile(nil, nil)
	require.NoError(t, err)
	for i := range 2 * maxAnswers {
		set.For(strconv.Itoa(i), nil)
	}
	require.LessOrEqual(t, len(set.answers), maxAnswers)
	require.Equal(t, Default(), set.For("0", nil))
}

func TestSetConcurrently(t *testing.T) {
	docs := parse(t, egressPolicy("paid", "namespaceSelector: {matchLabels: {tier: paid}}"))
	set, err := Compile(docs.Policies, nil)
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 200 {
				labels := map[string]string{"tier": []string{"paid", "free"}[i%2]}
				if got := len(set.For(fmt.Sprintf("n%d", i%7), labels).Sources); got != 1-i%2 {
					t.Errorf("%v: %d policies", labels, got)
				}
			}
		})
	}
	group.Wait()
}

func TestSetDoesNotAllocate(t *testing.T) {
	set, labels := largeSet(t, 10)
	require.Zero(t, testing.AllocsPerRun(100, func() { set.For("shop", labels) }))
}

// largeSet returns a set of n policies, each for a tenth of the teams, and the
// labels of a namespace.
func largeSet(tb testing.TB, n int) (*Set, map[string]string) {
	tb.Helper()
	docs := new(Documents)
	for i := range n {
		file := egressPolicy(fmt.Sprintf("p%d", i), fmt.Sprintf("namespaceSelector: {matchLabels: {team: t%d}}, hosts: {allowed: [{host: h%d.example.com}]}", i%10, i))
		require.NoError(tb, docs.Parse("policy.yaml", []byte(file)))
	}
	set, err := Compile(docs.Policies, nil)
	require.NoError(tb, err)
	return set, map[string]string{"team": "t1", "kubernetes.io/metadata.name": "shop", "istio-injection": "enabled", "tier": "paid"}
}

func BenchmarkFor(b *testing.B) {
	for _, n := range []int{1, 1_000} {
		set, labels := largeSet(b, n)
		b.Run(fmt.Sprintf("again/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.For("shop", labels)
			}
		})
		b.Run(fmt.Sprintf("10000-namespaces/%d", n), func(b *testing.B) {
			names := make([]string, 10_000)
			for i := range names {
				names[i] = fmt.Sprintf("ns%d", i)
				set.For(names[i], labels)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				set.For(names[i%len(names)], labels)
				i++
			}
		})
		b.Run(fmt.Sprintf("10000-namespaces-after-a-change/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				set.For(fmt.Sprintf("new%d", i), labels)
				i++
			}
		})
		b.Run(fmt.Sprintf("other-labels/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			other := map[string]string{"team": "t2"}
			for b.Loop() {
				set.For("shop", labels)
				set.For("shop", other)
			}
		})
	}
}
