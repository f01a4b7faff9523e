// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"time"
)

// patience is how long a request waits for a place before it is shed.
const patience = 50 * time.Millisecond

// A limiter bounds the requests in flight, so that overload is answered at once
// and does not become a queue.
type limiter struct {
	places chan struct{}
}

func newLimiter(n int) *limiter {
	return &limiter{places: make(chan struct{}, n)}
}

// acquire takes a place, waiting for one at most [patience] long. It reports
// whether it got one; then release must be called.
func (l *limiter) acquire(ctx context.Context) bool {
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case l.places <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (l *limiter) release() { <-l.places }
