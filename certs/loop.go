// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// changes makes a loop look at everything again.
type changes chan struct{}

func newChanges() changes { return make(changes, 1) }

// notice may be called by anybody. It does not block.
func (c changes) notice() {
	select {
	case c <- struct{}{}:
	default: // the loop will look, anyway
	}
}

// loop calls reconcile at once, whenever there are changes, at each tick, and
// sooner again after an error, until ctx is done. It stops the ticker.
func loop(ctx context.Context, ticker clock.Ticker, changes changes, reconcile func(context.Context) error) {
	log := logr.FromContextOrDiscard(ctx)
	defer ticker.Stop()
	backoff := newBackoff()
	for {
		var retry <-chan time.Time
		if err := reconcile(ctx); err != nil && ctx.Err() == nil {
			delay := backoff.Step()
			log.Error(err, "Could not keep certificates up to date", "retryAfter", delay.String())
			retry = time.After(delay)
		} else {
			backoff = newBackoff()
		}
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-ticker.C():
		case <-retry:
		}
	}
}

func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 9, Cap: time.Minute}
}
