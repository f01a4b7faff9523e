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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

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
	shots := fireAround(t, event)
	require.Empty(t, wrong(shots), "wrong verdicts")
	return shots
}

// fireAround fires before, during and after an event, and returns all shots.
func fireAround(t *testing.T, event func(ctx context.Context)) []shot {
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

// An outage is what became of the shots while all servers were dead, and afterwards.
type outage struct {
	// unanswered were fired when nobody was there, late when everybody was back.
	unanswered, late []shot
}

// killAll kills all servers, and starts others after a while.
func killAll(t *testing.T, fire func(*testing.T, func(context.Context)) []shot) outage {
	t.Helper()
	var dead, back time.Time
	begun := time.Now()
	shots := fire(t, func(ctx context.Context) {
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
		require.NoError(t, sleep(ctx, 2*time.Second))
	})
	const nobody = time.Second // after they died, and before the first comes back
	o := outage{
		unanswered: only(shots, func(s shot) bool { return s.at > dead.Sub(begun) && s.at < dead.Sub(begun)+nobody }),
		late:       only(shots, func(s shot) bool { return s.at > back.Sub(begun)+time.Second }),
	}
	require.NotEmpty(t, o.unanswered)
	require.NotEmpty(t, o.late)
	return o
}

// TestOutage (R17): while all servers are dead nothing is admitted, and once they are
// back nothing fails.
func TestOutage(t *testing.T) {
	o := killAll(t, underFire)
	require.Len(t, withVerdict(o.unanswered, failed), len(o.unanswered))
	require.Empty(t, withVerdict(o.late, failed))
	require.Empty(t, withVerdict(o.late, lost))
}

// TestOutageIgnored (R1): where the failurePolicy is Ignore, nothing fails while all
// servers are dead, and everything is admitted unjudged; once they are back nothing is.
func TestOutageIgnored(t *testing.T) {
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	set := func(ctx context.Context, failurePolicy string) {
		patch := fmt.Appendf(nil, `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":%q}]`, failurePolicy)
		_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(ctx, "sallyport", types.JSONPatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
		require.NoError(t, sleep(ctx, 2*time.Second)) // the API server learns it when it likes
	}
	set(t.Context(), "Ignore")
	t.Cleanup(func() { set(context.WithoutCancel(t.Context()), "Fail") })
	o := killAll(t, fireAround)
	require.Len(t, withVerdict(o.unanswered, allowed), len(o.unanswered))
	require.Empty(t, wrong(o.late))
	require.Empty(t, withVerdict(o.late, failed))
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
