// SPDX-License-Identifier: Apache-2.0

package breakglass

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	glass  = "sallyport.dev/break-glass"
	outage = "sallyport.dev/break-glass-outage"
)

// entry is a ServiceEntry that is denied for its wildcard host.
func entry(namespace, name, annotation, reason string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  namespace: %s
  name: %s
  annotations: {%s: %q}
spec:
  hosts: ['*.%s.example.com']
  exportTo: [.]
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`, namespace, name, annotation, reason, name)
}

const (
	wider    = `{"spec":{"hosts":["*.example.org"]}}`
	reasoned = `{"metadata":{"annotations":{%q:%q}},"spec":{"hosts":["*.example.org"]}}`
)

func patch(namespace, name, change string) []string {
	return []string{"patch", "-n", namespace, "serviceentry", name, "--type=merge", "-p", change}
}

// TestBreakGlass takes a control plane through a day with the server and an
// outage without it.
func TestBreakGlass(t *testing.T) {
	w := newWorld(t)
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			require.NoError(t, w.server.Stop())
		}
	})
	t.Run("as deployed", w.testDeployed)
	t.Run("with the server", w.testServed)
	t.Run("bypassing the server", func(t *testing.T) { w.testOutage(t, "early", "(serviceentry/wildcard-host)") })
	stopped = true
	require.NoError(t, w.server.Stop())
	t.Run("without the server", w.testAway)
	t.Run("bypassing what is not there", func(t *testing.T) { w.testOutage(t, "late", "failed calling webhook") })
}

func (w *world) testServed(t *testing.T) {
	_, warnings := w.kubectl(t, "alice", entry("shop", "first", glass, "incident 7"), "create", "-f", "-")
	require.Equal(t, "Warning: denied by serviceentry/wildcard-host, let through by break-glass: incident 7\n", warnings)
	annotations := w.audited(t, "first")
	require.Equal(t, "incident 7", annotations["validate.sallyport.dev/breakglass"])
	require.Equal(t, "serviceentry/wildcard-host", annotations["validate.sallyport.dev/breakglass-rules"])
	require.Equal(t, "1", w.metric(t, `sallyport_breakglass_total{dry_run="false",result="allowed"}`))

	t.Run("without the verb", func(t *testing.T) {
		message := w.refused(t, "bob", entry("shop", "bobs", glass, "incident 7"), "apply", "-f", "-")
		require.Contains(t, message, "(serviceentry/wildcard-host)")
		require.Contains(t, message, `user "bob" may not break the glass`)
		require.Equal(t, "1", w.metric(t, `sallyport_breakglass_total{dry_run="false",result="forbidden"}`))
	})
	t.Run("with all verbs of a namespace", func(t *testing.T) {
		message := w.refused(t, "tom", entry("tenant", "toms", glass, "incident 7"), "create", "-f", "-")
		require.Contains(t, message, `user "tom" may not break the glass`)
	})
	t.Run("impersonated", func(t *testing.T) {
		message := w.refused(t, "admin", entry("shop", "bobs", glass, "incident 7"), "create", "--as=bob", "-f", "-")
		require.Contains(t, message, `user "bob" may not break the glass`)
		w.kubectl(t, "admin", entry("shop", "carols", glass, "incident 7"), "create", "--as=carol",
			"--as-group=mesh-on-call", "--as-group=system:masters", "--dry-run=server", "-f", "-")
	})
	t.Run("copied", func(t *testing.T) {
		stored, _ := w.kubectl(t, "bob", "", "get", "serviceentry", "-n", "shop", "first", "-o", "yaml")
		copied := strings.ReplaceAll(stored, "namespace: shop", "namespace: tenant")
		require.Contains(t, w.refused(t, "bob", copied, "create", "-f", "-"), "may not break the glass")
	})
	t.Run("kept", func(t *testing.T) {
		require.Contains(t, w.refused(t, "alice", "", patch("shop", "first", wider)...), "must be new or changed")
		require.Contains(t, w.refused(t, "bob", "", patch("shop", "first", wider)...), "must be new or changed")
		w.kubectl(t, "alice", "", patch("shop", "first", fmt.Sprintf(reasoned, glass, "incident 8"))...)
		require.Equal(t, "incident 8", w.audited(t, "first")["validate.sallyport.dev/breakglass"])
	})
	t.Run("not needed", func(t *testing.T) {
		before := w.metric(t, `sallyport_breakglass_total{dry_run="false",result="forbidden"}`)
		fine := strings.NewReplacer("'*.", "'", "spec:", "spec:\n  location: MESH_EXTERNAL\n  resolution: DNS").
			Replace(entry("shop", "fine", glass, "incident 7"))
		_, warnings := w.kubectl(t, "bob", fine, "create", "-f", "-")
		require.Empty(t, warnings)
		require.Equal(t, before, w.metric(t, `sallyport_breakglass_total{dry_run="false",result="forbidden"}`))
	})
}

// testAway: the glass of every day needs the server.
func (w *world) testAway(t *testing.T) {
	message := w.refused(t, "alice", entry("shop", "away", glass, "incident 9"), "create", "-f", "-")
	require.Contains(t, message, "failed calling webhook")
}

// testOutage: the API server itself lets those through who may break the glass,
// whether the server is there or not; the others are told what they are told
// without the annotation.
func (w *world) testOutage(t *testing.T, name, refusal string) {
	_, warnings := w.kubectl(t, "alice", entry("shop", name, outage, "incident 9\nsee chat"), "create", "-f", "-")
	require.Contains(t, warnings, "not judged by sallyport, let through by break-glass-outage: incident 9 see chat")
	trace := w.audited(t, name)["validation.policy.admission.k8s.io/validation_failure"]
	require.Contains(t, trace, "let through by break-glass-outage: incident 9 see chat")
	require.NotContains(t, w.audited(t, name), "validate.sallyport.dev/deny")

	t.Run("without the verb", func(t *testing.T) {
		require.Contains(t, w.refused(t, "bob", entry("shop", "bobs", outage, "incident 9"), "create", "-f", "-"), refusal)
		require.Contains(t, w.refused(t, "tom", entry("tenant", "toms", outage, "incident 9"), "create", "-f", "-"), refusal)
	})
	t.Run("without a reason", func(t *testing.T) {
		for _, reason := range []string{"", " \t\n", strings.Repeat("a", 1025), strings.Repeat("ä", 513)} {
			require.Contains(t, w.refused(t, "alice", entry("shop", "unreasoned", outage, reason), "create", "-f", "-"), refusal)
		}
		w.kubectl(t, "alice", entry("shop", "long", outage, strings.Repeat("ä", 512)), "create", "--dry-run=server", "-f", "-")
	})
	t.Run("copied", func(t *testing.T) {
		stored, _ := w.kubectl(t, "bob", "", "get", "serviceentry", "-n", "shop", name, "-o", "yaml")
		copied := strings.ReplaceAll(stored, "namespace: shop", "namespace: tenant")
		require.Contains(t, w.refused(t, "bob", copied, "create", "-f", "-"), refusal)
	})
	t.Run("kept", func(t *testing.T) {
		require.Contains(t, w.refused(t, "alice", "", patch("shop", name, wider)...), refusal)
		require.Contains(t, w.refused(t, "bob", "", patch("shop", name, fmt.Sprintf(reasoned, outage, "mine"))...), refusal)
		_, warnings := w.kubectl(t, "alice", "", patch("shop", name, fmt.Sprintf(reasoned, outage, "incident 10"))...)
		require.Contains(t, warnings, "let through by break-glass-outage: incident 10")
	})
}
