// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

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

// TestStart (R17): from before the first server to the last of three nothing unsafe is
// admitted, and once one is ready nothing fails.
func TestStart(t *testing.T) {
	require.NoError(t, sallyport.Register(t.Context(), controlPlane.Config, servers.balancer.url(), sallyport.Configurations{Namespaces: []string{"default"}}))
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

// TestOutage (R17): while all servers are dead nothing is admitted, and once they are
// back nothing fails.
func TestOutage(t *testing.T) {
	var dead, back time.Time
	begun := time.Now()
	shots := underFire(t, func(ctx context.Context) {
		victims := slices.Clone(servers.pods)
		for _, victim := range victims {
			require.NoError(t, victim.Signal(syscall.SIGKILL))
		}
		dead = time.Now()
		require.NoError(t, servers.waitForReady(ctx, 0))
		for _, victim := range victims {
			servers.forget(victim)
		}
		require.NoError(t, sleep(ctx, time.Second))
		for range replicas {
			require.NoError(t, servers.start(ctx))
		}
		require.NoError(t, servers.waitForReady(ctx, replicas))
		back = time.Now()
	})
	const nobody = time.Second // after they died, and before the first comes back
	for _, s := range shots {
		switch {
		case s.at > dead.Sub(begun) && s.at < dead.Sub(begun)+nobody:
			require.Equal(t, failed, s.verdict, "%v", s.err)
		case s.at > back.Sub(begun)+time.Second:
			require.Contains(t, []verdict{allowed, denied}, s.verdict, "%v", s.err)
		}
	}
}

// TestAPIServerRestart: whoever waits for the API server itself sees it, and nobody
// else. Servers stay ready, and judge as soon as they are asked again.
func TestAPIServerRestart(t *testing.T) {
	shots := underFire(t, func(ctx context.Context) {
		require.NoError(t, controlPlane.RestartAPIServer())
		require.NoError(t, servers.waitForReady(ctx, replicas))
	})
	require.Empty(t, withVerdict(shots, failed))
	require.NotEmpty(t, withVerdict(shots, lost))
	last := shots[len(shots)-1]
	require.Contains(t, []verdict{allowed, denied}, last.verdict, "%v", last.err)
}

// TestEtcdPause: no verdict depends on etcd.
func TestEtcdPause(t *testing.T) {
	shots := underFire(t, func(ctx context.Context) {
		require.NoError(t, controlPlane.SignalEtcd(syscall.SIGSTOP))
		err := sleep(ctx, 5*time.Second)
		require.NoError(t, controlPlane.SignalEtcd(syscall.SIGCONT))
		require.NoError(t, err)
		require.NoError(t, servers.waitForReady(ctx, replicas))
	})
	require.Empty(t, withVerdict(shots, failed))
}

// TestDisconnect: servers that have lost the API server, which can still call them, go
// on judging by what they know, and learn of what has changed when they are back.
func TestDisconnect(t *testing.T) {
	client, err := dynamic.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	policies := client.Resource(schema.GroupVersionResource{Group: "policy.sallyport.dev", Version: "v1alpha1", Resource: "egresspolicies"})
	shots := underFire(t, func(ctx context.Context) {
		servers.disconnect()
		require.NoError(t, sleep(ctx, 3*time.Second))
		_, err := policies.Create(ctx, denyPolicy(), metav1.CreateOptions{})
		require.NoError(t, err)
		require.NoError(t, sleep(ctx, time.Second))
		require.NoError(t, servers.waitForReady(ctx, replicas))
		servers.connect()
	})
	require.Empty(t, withVerdict(shots, failed))
	require.Empty(t, withVerdict(shots, lost))
	back := time.Now()
	requireDenied(t, 30)
	t.Logf("the new policy was in force after %v", time.Since(back).Round(100*time.Millisecond))
	require.NoError(t, policies.Delete(t.Context(), denyPolicy().GetName(), metav1.DeleteOptions{}))
}

// newHost is denied by nobody until a policy says so.
const newHost = "new.example.com"

func denyPolicy() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "policy.sallyport.dev/v1alpha1", "kind": "EgressPolicy",
		"metadata": map[string]any{"name": "deny-new"},
		"spec": map[string]any{
			"namespaceSelector": map[string]any{},
			"hosts":             map[string]any{"denied": []any{map[string]any{"host": newHost}}},
		},
	}}
}

// requireDenied waits until the new host is denied so many times in a row: by all
// servers.
func requireDenied(t *testing.T, times int) {
	t.Helper()
	client, err := dynamic.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	entry := serviceEntry(false)
	require.NoError(t, unstructured.SetNestedStringSlice(entry.Object, []string{newHost}, "spec", "hosts"))
	inARow := 0
	require.Eventually(t, func() bool {
		_, err := client.Resource(entriesResource).Namespace("default").Create(t.Context(), entry, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if inARow++; verdictOf(err) != denied {
			inARow = 0
		}
		return inARow >= times
	}, 2*time.Minute, 20*time.Millisecond)
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
