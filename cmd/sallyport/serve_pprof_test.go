// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProfiles (R19): profiles are for who asks for them, on this machine.
func TestProfiles(t *testing.T) {
	tasks, err := profiles(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, tasks)
	for _, address := range []string{":6060", "0.0.0.0:6060", "[::]:6060", "192.0.2.1:6060"} {
		_, err := profiles(t.Context(), address)
		require.ErrorContains(t, err, "want a loopback address", address)
	}

	tasks, err = profiles(t.Context(), "127.0.0.1:46060")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tasks[0](ctx) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:46060/debug/pprof/goroutine?debug=1", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	cancel()
	require.NoError(t, <-done)
}
