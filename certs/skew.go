// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// maxSkew is how much the clock may differ from the API server's. Less is made
// good by the backdating.
const maxSkew = 5 * time.Minute

var errSkew = errors.New("the clocks differ too much")

// A skewMeter compares the clock with that of the API server, whose verdict on a
// certificate is the one that counts.
type skewMeter struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
	last   atomic.Int64
}

// skew returns by how much the clock was ahead when it was last compared.
func (m *skewMeter) skew() time.Duration { return time.Duration(m.last.Load()) }

// measure compares the clocks.
func (m *skewMeter) measure(ctx context.Context) (time.Duration, error) {
	if m.client == nil {
		return 0, nil // there is none to compare it with
	}
	api, ok := m.client.Discovery().RESTClient().(*rest.RESTClient)
	if !ok {
		return 0, nil // a fake
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, api.Get().AbsPath("/version").URL().String(), http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("compare the clock: %w", err)
	}
	before := m.clock.Now()
	resp, err := httpClient(api).Do(req)
	if err != nil {
		return 0, fmt.Errorf("compare the clock: %w", err)
	}
	defer resp.Body.Close()
	took := m.clock.Since(before)
	date, err := http.ParseTime(resp.Header.Get("Date")) // also of a refusal
	if err != nil {
		return 0, fmt.Errorf("compare the clock: %w", err)
	}
	const rounding = time.Second / 2
	skew := before.Add(took / 2).Sub(date.Add(rounding))
	m.last.Store(int64(skew))
	return skew, nil
}

func httpClient(api *rest.RESTClient) *http.Client {
	if api.Client != nil {
		return api.Client
	}
	return http.DefaultClient
}

// times returns what time it may be: by the own clock, and if that is wrong by
// much, by the API server's.
func (m *skewMeter) times() []time.Time {
	now := m.clock.Now()
	if skew := m.skew(); skew.Abs() > maxSkew {
		return []time.Time{now, now.Add(-skew)}
	}
	return []time.Time{now}
}

// describeSkew says which clock is ahead.
func describeSkew(skew time.Duration) string {
	side := "ahead of"
	if skew < 0 {
		side = "behind"
	}
	return fmt.Sprintf("the clock is %s %s the API server's", skew.Abs().Round(time.Second), side)
}
