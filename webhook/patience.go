// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"time"
)

// Objects of one "kubectl apply" follow each other within milliseconds, and the watch
// is a little slower.
const (
	watchDelay = 250 * time.Millisecond
	lookAgain  = 25 * time.Millisecond
)

// patiently judges again, for a while, what is judged as it is only since an object
// is not known that somebody may have created a moment ago. Who waits takes a place of
// waiting, and without one is judged at once: else whoever sends what waits in vain
// would keep others from being judged. A nil channel has no places.
func patiently(ctx context.Context, waiting chan struct{}, judge func(await func()) error) error {
	deadline := time.Now().Add(watchDelay)
	for first := true; ; first = false {
		missing := false
		err := judge(func() { missing = true })
		if err != nil || !missing || !time.Now().Before(deadline) {
			return err
		}
		if first {
			select {
			case waiting <- struct{}{}:
				defer func() { <-waiting }()
			default:
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil // the caller has gone
		case <-time.After(lookAgain):
		}
	}
}
