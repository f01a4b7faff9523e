// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// soon is within which a change must be in force; the rest is for a busy
	// machine.
	soon = 10 * time.Second

	lateEntry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: late
spec:
  hosts: [late.example.net]
  exportTo: [.]
  resolution: NONE
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
	emptyEntry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: empty
spec:
  hosts: [empty.example.net]
  exportTo: [.]
  resolution: STATIC
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
)

// ownWildcard is a wildcard that nobody else has.
func ownWildcard(metadata string) string {
	return strings.Replace(fmt.Sprintf(wildcardEntry, "v1", metadata), "*.example.com", "*.own.example.net", 1)
}

func egressPolicy(name, label, spec string) string {
	return fmt.Sprintf("apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: %s}\nspec:\n  namespaceSelector: {matchLabels: {test: %s}}\n%s", name, label, spec)
}

// labeledNamespace creates a namespace that policies of the test select.
func labeledNamespace(t *testing.T, label string) string {
	t.Helper()
	ns := newNamespace(t)
	kubectl(t, "", "label", "namespace", ns, "test="+label)
	return ns
}

// apply applies a cluster-scoped object and deletes it after the test.
func apply(t *testing.T, object string) {
	t.Helper()
	kubectl(t, object, "apply", "-f", "-")
	t.Cleanup(func() {
		out := run(context.WithoutCancel(t.Context()), object, "delete", "--ignore-not-found", "-f", "-")
		require.NoError(t, out.err, out.stderr)
	})
}

// try sends an object without keeping it.
func try(t *testing.T, namespace, object string) output {
	t.Helper()
	return run(t.Context(), object, "create", "--dry-run=server", "-n", namespace, "-f", "-")
}

// becomes waits until an object gets the answer; says is a part of what kubectl
// prints to standard error.
func becomes(t *testing.T, namespace, object string, admitted bool, says string) {
	t.Helper()
	var last output
	require.Eventually(t, func() bool {
		last = try(t, namespace, object)
		return (last.err == nil) == admitted && strings.Contains(last.stderr, says)
	}, soon, 20*time.Millisecond, "admitted should become %t, and say %q", admitted, says)
}

func TestPolicyLifecycle(t *testing.T) {
	ns := labeledNamespace(t, "lifecycle")
	wildcard := ownWildcard("name: all")
	stop := hammer(t, ns)
	defer stop()

	becomes(t, ns, wildcard, false, "serviceentry/wildcard-host")
	apply(t, egressPolicy("lifecycle", "lifecycle", "  hosts: {allowed: [{host: '*.own.example.net'}]}\n"))
	applied := time.Now()
	becomes(t, ns, wildcard, true, "")
	t.Logf("in force after %s, a request of kubectl included", time.Since(applied))
	apply(t, egressPolicy("lifecycle", "lifecycle", "  hosts: {allowed: [{host: '*.own.example.net'}], denied: [{host: www.own.example.net}]}\n"))
	becomes(t, ns, wildcard, false, "serviceentry/allowed-host")
	kubectl(t, "", "delete", "egresspolicy", "lifecycle")
	becomes(t, ns, wildcard, false, "serviceentry/wildcard-host")

	apply(t, egressPolicy("lifecycle", "lifecycle", "  rules: [{name: serviceentry/wildcard-host, action: Warn}]\n"))
	becomes(t, ns, wildcard, true, "Warning: serviceentry/wildcard-host")
	kubectl(t, "", "label", "namespace", ns, "test-")
	becomes(t, ns, wildcard, false, "serviceentry/wildcard-host")
	kubectl(t, "", "label", "namespace", ns, "test=lifecycle")
	becomes(t, ns, wildcard, true, "")
}

// hammer sends what no policy of the test allows, for as long as the test runs: no
// change may open the gate for a moment.
func hammer(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	sent := 0
	group.Go(func() {
		for ctx.Err() == nil {
			out := run(ctx, emptyEntry, "create", "--dry-run=server", "-n", namespace, "-f", "-")
			if ctx.Err() == nil && !strings.Contains(out.stderr, "serviceentry/static-endpoints") {
				t.Errorf("not refused as it must be: %s%s", out.stdout, out.stderr)
				return
			}
			sent++
		}
	})
	return func() {
		cancel()
		group.Wait()
		require.Positive(t, sent)
	}
}

func TestEnforceFrom(t *testing.T) {
	ns := labeledNamespace(t, "enforce")
	from := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	apply(t, egressPolicy("enforce", "enforce", fmt.Sprintf("  rules: [{name: serviceentry/unresolved-host, action: Deny, enforceFrom: %q}]\n", from.Format(time.RFC3339))))
	becomes(t, ns, lateEntry, true, "denied from "+from.Format(time.DateOnly))
	require.True(t, time.Now().Before(from.Add(time.Second)))
	becomes(t, ns, lateEntry, false, "serviceentry/unresolved-host")
	require.False(t, time.Now().Before(from))
}

func TestExemptionExpires(t *testing.T) {
	ns := newNamespace(t)
	wildcard := ownWildcard("name: all")
	expires := time.Now().Add(6 * time.Second).UTC().Truncate(time.Second)
	apply(t, fmt.Sprintf(`
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressExemption
metadata: {name: %s-wildcard}
spec:
  rules: [serviceentry/wildcard-host]
  namespace: %s
  kind: ServiceEntry
  hosts: ["*.own.example.net"]
  expiresAt: %q
  reason: moving to exact hosts
`, ns, ns, expires.Format(time.RFC3339)))
	becomes(t, ns, wildcard, true, fmt.Sprintf("exempted by '%s-wildcard' until %s", ns, expires.Format(time.DateOnly)))
	becomes(t, newNamespace(t), wildcard, false, "serviceentry/wildcard-host")
	becomes(t, ns, wildcard, false, "serviceentry/wildcard-host")
	require.False(t, time.Now().Before(expires))
}

// TestPolicyStatus: people see what became of a policy.
func TestPolicyStatus(t *testing.T) {
	labeledNamespace(t, "status")
	ns := labeledNamespace(t, "status")
	apply(t, egressPolicy("status-a", "status", "  defaults: {timeout: 5s}\n"))
	status := func(name, condition string) string {
		return run(t.Context(), "", "get", "egresspolicy", name, "-o",
			fmt.Sprintf(`jsonpath={.status.conditions[?(@.type=="%s")].status} {.status.observedGeneration} {.status.matchedNamespaces}`, condition)).stdout
	}
	require.Eventually(t, func() bool { return status("status-a", "Accepted") == "True 1 2" }, soon, 20*time.Millisecond)
	require.Equal(t, "True 1 2", status("status-a", "Programmed"))
	require.Equal(t, "False 1 2", status("status-a", "Conflicted"))

	apply(t, egressPolicy("status-b", "status", "  defaults: {timeout: 7s}\n"))
	require.Eventually(t, func() bool {
		return status("status-a", "Conflicted") == "True 1 2" && status("status-b", "Conflicted") == "True 1 2"
	}, soon, 20*time.Millisecond)
	message := kubectl(t, "", "get", "egresspolicy", "status-b", "-o", `jsonpath={.status.conditions[?(@.type=="Conflicted")].message}`).stdout
	require.Contains(t, message, "EgressPolicy status-a has the same priority and another defaults.timeout")

	apply(t, egressPolicy("status-b", "status", "  priority: 1\n  defaults: {timeout: 7s}\n"))
	require.Eventually(t, func() bool {
		return status("status-a", "Conflicted") == "False 1 2" && status("status-b", "Programmed") == "True 2 2"
	}, soon, 20*time.Millisecond)
	out := kubectl(t, fmt.Sprintf(bareRoute, "v1"), "create", "--dry-run=server", "-n", ns, "-o", "jsonpath={.spec.http[0].timeout}", "-f", "-")
	require.NotEqual(t, "5s", out.stdout)
	kubectl(t, "", "label", "namespace", ns, "test-")
	require.Eventually(t, func() bool { return status("status-a", "Accepted") == "True 1 1" }, soon, 20*time.Millisecond)
}

// TestNamespaceAdmin (R5, R24): whoever may do everything in a namespace cannot loosen what
// holds there.
func TestNamespaceAdmin(t *testing.T) {
	ns := newNamespace(t)
	kubectl(t, "", "create", "rolebinding", "admin", "-n", ns, "--clusterrole=admin", "--user=tenant")
	kubectl(t, "", "create", "role", "istio", "-n", ns, "--verb=*", "--resource=serviceentries.networking.istio.io,virtualservices.networking.istio.io")
	kubectl(t, "", "create", "rolebinding", "istio", "-n", ns, "--role=istio", "--user=tenant")
	asTenant := func(object string, args ...string) output {
		return run(t.Context(), object, append([]string{"--as=tenant", "-n", ns}, args...)...)
	}
	require.NoError(t, asTenant(fmt.Sprintf(cleanEntry, "v1"), "apply", "-f", "-").err, "a tenant may write what is safe")

	for what, args := range map[string][]string{
		"labels of the namespace": {"label", "namespace", ns, "sallyport.dev/ignore=true"},
		"its annotations":         {"annotate", "namespace", ns, "sallyport.dev/ignore=true"},
		"the webhook":             {"delete", "validatingwebhookconfiguration", "sallyport"},
		"the certificate":         {"delete", "secret", "-n", "sallyport-system", "sallyport-certs"},
	} {
		require.ErrorContains(t, errorOf(asTenant("", args...)), "orbidden", what)
	}
	require.ErrorContains(t, errorOf(asTenant(egressPolicy("tenant", "x", "  hosts: {allowed: [{host: '*.own.example.net'}]}\n"), "apply", "-f", "-")), "orbidden")

	for what, metadata := range map[string]string{
		"labels":         "name: all\n  labels: {sallyport.dev/ignore: \"true\", admission: skip, istio.io/rev: none}",
		"annotations":    "name: all\n  annotations: {sallyport.dev/exempt: \"true\", sallyport.dev/inject: \"false\", policy.sallyport.dev/rules: \"Off\"}",
		"break-glass":    "name: all\n  annotations: {sallyport.dev/break-glass: because}",
		"a foreign name": "name: sallyport",
		"owners":         "name: all\n  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: x, uid: x}]",
		"a deletion":     "name: all\n  finalizers: [example.com/hold]",
	} {
		out := asTenant(ownWildcard(metadata), "create", "--dry-run=server", "-f", "-")
		require.Error(t, out.err, what)
		require.Contains(t, out.stderr, "serviceentry/wildcard-host", what)
	}
}

func errorOf(out output) error {
	if out.err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", out.err, out.stderr)
}

// TestEffectivePolicy: the command shows what the server judges by.
func TestEffectivePolicy(t *testing.T) {
	ns := labeledNamespace(t, "effective")
	apply(t, egressPolicy("effective", "effective", "  hosts: {unlisted: Deny, allowed: [{host: api.example.com}]}\n"))
	sallyport := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(controlPlane.Dir, "sallyport"), args...).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	effective := func(namespace string) string {
		return sallyport("policy", "effective", namespace, "--kubeconfig", controlPlane.Kubeconfig)
	}
	require.Contains(t, sallyport("__complete", "check", "--cluster", "--kubeconfig", controlPlane.Kubeconfig, "-n", ""), ns+"\n")
	require.Regexp(t, `hosts\.unlisted +Deny +effective`, effective(ns))
	require.Regexp(t, `hosts\.allowed\[api\.example\.com\] +every port +effective`, effective(ns))
	require.Regexp(t, `hosts\.unlisted +Allow +built-in`, effective("default"))
	becomes(t, ns, lateEntry, false, "serviceentry/allowed-host")

	body, err := server.Scrape(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	require.Contains(t, body, `sallyport_policies{kind="EgressPolicy",state="accepted"} 1`)
	require.Contains(t, body, `sallyport_policies{kind="EgressPolicy",state="invalid"} 0`)
}
