// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

const (
	replicas = 3
	rate     = 40 // shots a second
)

var (
	controlPlane *cluster.Cluster
	servers      *fleet
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	var err error
	if controlPlane, err = cluster.Start(ctx, cluster.Options{}); err != nil {
		return fail(err)
	}
	defer func() { _ = controlPlane.Stop() }()
	if err := sallyport.Build(ctx, filepath.Join(controlPlane.Dir, "sallyport")); err != nil {
		return fail(err)
	}
	if err := sallyport.CreateNamespace(ctx, controlPlane.Config); err != nil {
		return fail(err)
	}
	if servers, err = newFleet(ctx, controlPlane); err != nil {
		return fail(err)
	}
	defer func() { _ = servers.stopAll() }()
	go servers.watch(ctx)
	return m.Run()
}

// underFire fires before, during and after an event, and returns all shots. No verdict
// may ever be wrong.
func underFire(t *testing.T, event func(ctx context.Context)) []shot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	l, err := startLoad(ctx, controlPlane.Config, rate)
	require.NoError(t, err)
	require.NoError(t, sleep(ctx, time.Second))
	event(ctx)
	require.NoError(t, sleep(ctx, time.Second))
	shots := l.stop()
	t.Log(describe(shots))
	require.Empty(t, wrong(shots), "wrong verdicts")
	return shots
}

// TestStart: from before the first server to the last of three nothing unsafe is
// admitted, and once one is ready nothing fails.
func TestStart(t *testing.T) {
	require.NoError(t, sallyport.Register(t.Context(), controlPlane.Config, servers.balancer.url(), sallyport.Configurations{}))
	var ready time.Time
	begun := time.Now()
	shots := underFire(t, func(ctx context.Context) {
		for range replicas {
			require.NoError(t, servers.start(ctx))
		}
		require.NoError(t, servers.waitForReady(ctx, replicas))
		ready = time.Now()
	})
	require.NotEmpty(t, withVerdict(shots, failed), "nobody was there")
	late := only(shots, func(s shot) bool {
		return s.at > ready.Sub(begun)+time.Second && s.verdict != allowed && s.verdict != denied
	})
	require.Empty(t, late)
	t.Logf("ready after %v", ready.Sub(begun).Round(time.Millisecond))
}

// TestRollingRestart (R12): a planned change is noticed by nobody.
func TestRollingRestart(t *testing.T) {
	shots := underFire(t, func(ctx context.Context) {
		for range replicas {
			require.NoError(t, servers.start(ctx))
			require.NoError(t, servers.waitForReady(ctx, replicas+1))
			require.NoError(t, servers.stop(servers.pods[0]))
			require.NoError(t, servers.waitForReady(ctx, replicas))
		}
	})
	require.Empty(t, withVerdict(shots, failed))
	require.Empty(t, withVerdict(shots, lost))
}

// TestKill: what fails then is what failurePolicy promises, until nobody calls the dead
// server any more.
func TestKill(t *testing.T) {
	shots := underFire(t, func(ctx context.Context) {
		victim := servers.pods[0]
		require.NoError(t, victim.Signal(syscall.SIGKILL))
		require.NoError(t, servers.waitForReady(ctx, replicas-1))
		servers.forget(victim)
		require.NoError(t, sleep(ctx, time.Second))
		require.NoError(t, servers.start(ctx))
		require.NoError(t, servers.waitForReady(ctx, replicas))
	})
	requireRecovery(t, shots, probeEvery+probeTimeout+propagation+time.Second)
}

// TestFreeze: a server that does not answer costs each connection to it one timeout.
func TestFreeze(t *testing.T) {
	shots := underFire(t, func(ctx context.Context) {
		victim := servers.pods[0]
		require.NoError(t, victim.Signal(syscall.SIGSTOP))
		require.NoError(t, servers.waitForReady(ctx, replicas-1))
		require.NoError(t, sleep(ctx, 5*time.Second))
		require.NoError(t, victim.Signal(syscall.SIGCONT))
		require.NoError(t, servers.waitForReady(ctx, replicas))
	})
	requireRecovery(t, shots, 10*time.Second)
}

// requireRecovery wants all failures to lie within a time.
func requireRecovery(t *testing.T, shots []shot, within time.Duration) {
	t.Helper()
	failures := withVerdict(shots, failed)
	require.Empty(t, withVerdict(shots, lost))
	if len(failures) == 0 {
		return
	}
	first, last := failures[0].at, failures[0].at
	for _, s := range failures {
		first, last = min(first, s.at), max(last, s.at)
	}
	require.Less(t, last-first, within)
}
