// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
)

// fill puts n entries into the index, each with a host of its own; a tenth are
// wildcards, and a tenth declare a popular host for their namespace alone.
func fill(x *Index, n int) {
	for i := range n {
		namespace := "ns" + strconv.Itoa(i/10)
		hosts, exportTo := []string{fmt.Sprintf("h%d.example.com", i)}, []string(nil)
		switch i % 10 {
		case 1:
			hosts = []string{fmt.Sprintf("*.w%d.example.org", i)}
		case 2:
			hosts, exportTo = append(hosts, "popular.example.com"), []string{"."}
		}
		x.Set(entry(namespace, strconv.Itoa(i), i%5, exportTo, hosts...))
	}
}

var sizes = []int{100, 1_000, 10_000, 100_000}

func BenchmarkServiceEntry(b *testing.B) {
	for _, n := range sizes {
		x := New(config.Default())
		fill(x, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if x.ServiceEntry("ns3", "h7.example.com") == nil || x.ServiceEntry("ns3", "popular.example.com") == nil ||
					x.ServiceEntry("ns3", "a.b.w11.example.org") == nil || x.ServiceEntry("ns3", "none.example.org") != nil {
					b.Fatal("wrong answer")
				}
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	for _, n := range sizes {
		x := New(config.Default())
		fill(x, n)
		changed := entry("ns0", "2", 1, []string{"."}, "popular.example.com", "new.example.com")
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Set(changed)
				x.Delete(analysis.ServiceEntry, "ns0", "2")
			}
		})
	}
}

// BenchmarkMemory tells what an entry costs in the index, without itself.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	entries := New(config.Default())
	fill(entries, n)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := New(config.Default())
		for _, d := range entries.objects[analysis.ServiceEntry] {
			x.Set(d.object)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/entry")
		runtime.KeepAlive(x)
	}
	runtime.KeepAlive(entries)
}
