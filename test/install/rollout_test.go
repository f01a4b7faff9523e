// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/helm"
)

// TestRollout: from a trial in one namespace to a gate in all, step by step, with each step
// doing what it says and no step undoing what is there; and while nobody answers, what the
// failurePolicy says (R1).
func TestRollout(t *testing.T) {
	// What was there before stays.
	kubectl(t, strings.Replace(unsafe, "name: unsafe", "name: old", 1), "create", "-f", "-")
	t.Cleanup(func() { kubectl(t, "", "delete", "serviceentry", "-n", "shop", "old", "--ignore-not-found") })
	ports := freePorts(t)
	step := func(values ...string) {
		t.Helper()
		upgrade(t, append([]string{ports.values(), "--force-conflicts"}, values...)...)
		callLocally(t)
	}
	reader := "--set=metrics.readers[0].namespace=default,metrics.readers[0].name=prometheus"
	install(t, ports.values(), reader, "--set=profile=trial,maxAction=Audit,webhooks.namespaces={pilot}")
	callLocally(t)
	p := startPod(t, ports)
	p.waitUntilReady(t)

	// Audit: nobody but operators sees anything, and only the pilot's namespace is asked about.
	eventuallyAudited(t, p, "pilot")
	_, stderr := apply(t, "pilot")
	require.NotContains(t, stderr, "Warning")
	_, stderr = apply(t, "shop")
	require.NotContains(t, stderr, "Warning")

	// Warn: whoever applies it is told.
	step("--set=profile=trial")
	eventuallyAnswers(t, "Warning: ")
	_, stderr = apply(t, "shop")
	require.Contains(t, stderr, "must not be a wildcard")

	// Deny by date: told from when on.
	step("--set=profile=trial,defaultPolicy.enforceFrom=2100-01-01T00:00:00Z,failurePolicy=Fail")
	eventuallyAnswers(t, "2100-01-01")

	// Denied, once the day has come; what was there may still be changed otherwise.
	step("--set=profile=trial,defaultPolicy.enforceFrom=2026-01-01T00:00:00Z,failurePolicy=Fail")
	refused(t, "must not be a wildcard")
	stdout := kubectl(t, "", "annotate", "serviceentry", "-n", "shop", "old", "team=a")
	require.Contains(t, stdout, "annotated")

	// The profile for good, and back.
	step("--set=profile=standard")
	refused(t, "must not be a wildcard")
	mustHelm(t, "rollback", "sallyport", "2", "--force-conflicts")
	callLocally(t)
	eventuallyAnswers(t, "Warning: ")

	// Away: the profile says what then.
	p.stop(t)
	_, stderr = apply(t, "shop")
	require.NotContains(t, stderr, "must not be a wildcard", "a trial lets through what nobody judges")
	step("--set=profile=standard")
	refused(t, "failed calling webhook")
	mustHelm(t, "uninstall", "sallyport")
	_, stderr = apply(t, "shop")
	require.Empty(t, stderr)
}

// apply creates something unsafe, as a dry run, which is admitted.
func apply(t *testing.T, namespace string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := tryApply(t.Context(), namespace)
	require.NoError(t, err, stderr)
	return stdout, stderr
}

func tryApply(ctx context.Context, namespace string) (stdout, stderr string, err error) {
	return tryKubectl(ctx, strings.Replace(unsafe, "namespace: shop", "namespace: "+namespace, 1), "create", "--dry-run=server", "-f", "-")
}

// eventuallyAnswers waits until what is unsafe is admitted with a warning that has the text.
func eventuallyAnswers(t *testing.T, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, stderr, err := tryApply(t.Context(), "shop")
		return err == nil && strings.Contains(stderr, want)
	}, time.Minute, 200*time.Millisecond)
}

// eventuallyAudited waits until what is unsafe is recorded in a metric.
func eventuallyAudited(t *testing.T, p *pod, namespace string) {
	t.Helper()
	kubectl(t, "", "create", "serviceaccount", "prometheus")
	t.Cleanup(func() { kubectl(t, "", "delete", "serviceaccount", "prometheus") })
	audited := regexp.MustCompile(`sallyport_findings_total{action="Audit",dry_run="true",rule="serviceentry/wildcard-host",source="admission"} [1-9]`)
	require.Eventually(t, func() bool {
		_, _, err := tryApply(t.Context(), namespace)
		return err == nil && audited.MatchString(p.scrape(t, "prometheus"))
	}, time.Minute, 200*time.Millisecond)
}

// TestUpgrade: from the version before to this one and back, while unsafe objects are
// applied all the time: none is admitted, and nothing that the server owns is lost.
func TestUpgrade(t *testing.T) {
	before := filepath.Join(t.TempDir(), "sallyport")
	require.NoError(t, os.CopyFS(before, os.DirFS(helm.Chart())))
	chart := filepath.Join(before, "Chart.yaml")
	text, err := os.ReadFile(chart)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(chart, []byte(strings.ReplaceAll(string(text), "0.1.0", "0.0.9")), 0o600))
	ports := freePorts(t)
	installChart(t, before, ports.values())
	callLocally(t)
	p := startPod(t, ports)
	p.waitUntilReady(t)
	refused(t, "must not be a wildcard")
	running := runtimeFields(t)

	ctx, cancel := context.WithCancel(t.Context())
	admitted := make(chan string, 1)
	done := make(chan int)
	go func() {
		asked := 0
		for ; ctx.Err() == nil; asked++ {
			if stdout, _, err := tryApply(ctx, "shop"); err == nil {
				select {
				case admitted <- stdout:
				default:
				}
			}
		}
		done <- asked
	}()
	callAgain := func() { callLocally(t); require.Equal(t, running, runtimeFields(t)) }
	upgrade(t, ports.values(), "--force-conflicts")
	callAgain()
	mustHelm(t, "rollback", "sallyport", "1", "--force-conflicts")
	callAgain()
	upgrade(t, ports.values(), "--server-side=false")
	callAgain()
	cancel()
	require.Greater(t, <-done, 3)
	select {
	case stdout := <-admitted:
		require.Fail(t, "it was admitted", stdout)
	default:
	}
	p.stop(t)
}
