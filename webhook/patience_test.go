// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
)

func TestPatiently(t *testing.T) {
	failure := errors.New("failed")
	for _, test := range []struct {
		name    string
		missing int // how often something is missing
		err     error
		want    int // how often it is judged
		took    time.Duration
	}{
		{"nothing is missing", 0, nil, 1, 0},
		{"it comes soon", 3, nil, 4, 3 * lookAgain},
		{"it never comes", 1000, nil, 11, watchDelay},
		{"a failure", 1000, failure, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, judged := time.Now(), 0
				err := patiently(t.Context(), make(chan struct{}, 1), func(await func()) error {
					if judged++; judged <= test.missing {
						await()
					}
					return test.err
				})
				require.ErrorIs(t, err, test.err)
				require.Equal(t, test.want, judged)
				require.Equal(t, test.took, time.Since(start))
			})
		})
	}
	t.Run("the caller goes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		judged := 0
		require.NoError(t, patiently(ctx, make(chan struct{}, 1), func(await func()) error { judged++; await(); return nil }))
		require.Equal(t, 1, judged)
	})
}

// TestWaitingLeavesRoom (R13): reviews that wait for objects that never come do not keep
// others from being judged, however many there are.
func TestWaitingLeavesRoom(t *testing.T) {
	opts := testOptions(t)
	opts.MaxInFlight = 4
	index := mesh.New(config.Default())
	index.SetComplete(analysis.Kinds()...)
	opts.Mesh = index
	url := serve(t, newTestServer(t, opts)) + ValidatePath
	undeclared := encode(t, newRequest(t, bareRoute))
	var senders sync.WaitGroup
	var answered atomic.Int64
	var ended atomic.Bool
	defer func() { ended.Store(true); senders.Wait() }()
	for range opts.MaxInFlight {
		senders.Go(func() {
			for !ended.Load() {
				post(t, url, undeclared)
				answered.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return answered.Load() > 0 }, 10*time.Second, time.Millisecond)
	clean := encode(t, newRequest(t, cleanEntry))
	for range 20 {
		status, answer := post(t, url, clean)
		require.Equal(t, http.StatusOK, status, string(answer))
	}
}
