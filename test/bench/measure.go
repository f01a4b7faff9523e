// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The measurement is cut into blocks. Each gives a ratio of its own, and their
// spread shows how far the noise of the machine reaches.
const blocks = 10

// An arm is one of the things compared: requests to a namespace that some
// webhooks look at.
type arm struct {
	name    string
	call    func() error
	samples [][]time.Duration // by block
}

// interleave calls the arms in random order, calls times each, so that whatever
// else the machine does falls on all of them alike.
func interleave(arms []*arm, calls, warmUp int) error {
	random := rand.New(rand.NewPCG(1, 1))
	for _, a := range arms {
		a.samples = make([][]time.Duration, blocks)
		for range warmUp {
			if err := a.call(); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	order := slices.Clone(arms)
	for i := range calls {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, a := range order {
			start := time.Now()
			if err := a.call(); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			block := i * blocks / calls
			a.samples[block] = append(a.samples[block], time.Since(start))
		}
	}
	return nil
}

func quantile(samples []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (a *arm) quantile(q float64) time.Duration { return quantile(slices.Concat(a.samples...), q) }

// A ratio compares what two arms add to a third, at the median.
type ratio struct{ median, low, high float64 }

// compare returns (a-base)/(b-base): the median over the blocks, and the
// smallest and largest block.
func compare(a, b, base *arm) ratio {
	ratios := make([]float64, blocks)
	for i := range ratios {
		added := func(x *arm) float64 { return float64(quantile(x.samples[i], 0.5) - quantile(base.samples[i], 0.5)) }
		ratios[i] = added(a) / added(b)
	}
	slices.Sort(ratios)
	return ratio{median: (ratios[(blocks-1)/2] + ratios[blocks/2]) / 2, low: ratios[0], high: ratios[blocks-1]}
}
