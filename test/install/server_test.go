// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/test/helm"
)

// unsafe is a ServiceEntry that no policy lets through.
const unsafe = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: unsafe, namespace: shop}
spec:
  hosts: ["*.example.com"]
  ports: [{number: 443, name: tls, protocol: TLS}]
`

// TestServer: what the chart installs does all that it should, through the Service, by the
// service account and by nothing else (R22); and applying the chart again takes nothing away
// that the server has written (C10).
func TestServer(t *testing.T) {
	ports := freePorts(t)
	values := []string{ports.values(), "--set=metrics.readers[0].namespace=default,metrics.readers[0].name=prometheus"}
	from := auditLength(t)
	install(t, values...)
	callLocally(t)
	p := startPod(t, ports)
	p.waitUntilReady(t)

	t.Run("judges", func(t *testing.T) {
		refused(t, "*.example.com", "must not be a wildcard")
		kubectl(t, strings.Replace(unsafe, "metadata: {name: unsafe", "metadata: {annotations: {sallyport.dev/break-glass: test}, name: broken", 1), "create", "-f", "-")
		kubectl(t, "", "delete", "serviceentry", "-n", "shop", "broken")
	})
	t.Run("completes", func(t *testing.T) {
		kubectl(t, safe, "create", "-f", "-")
		t.Cleanup(func() { kubectl(t, safe, "delete", "-f", "-") })
		out := kubectl(t, "", "get", "virtualservice", "-n", "shop", "api", "-o", "jsonpath={.spec.http[0].timeout} {.spec.http[0].retries.attempts}")
		require.Equal(t, "15s 2", out)
	})
	t.Run("tells", func(t *testing.T) {
		kubectl(t, exemption, "create", "-f", "-")
		t.Cleanup(func() { kubectl(t, "", "delete", "egressexemption", "test") })
		eventually(t, func(c *assert.CollectT) {
			out, stderr, err := tryKubectl(t.Context(), "", "get", "egresspolicy/default", "egressexemption/test", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Accepted")].status}`)
			require.NoError(c, err, stderr)
			require.Equal(c, "True True", out)
		})
		kubectl(t, "", "create", "serviceaccount", "prometheus")
		t.Cleanup(func() { kubectl(t, "", "delete", "serviceaccount", "prometheus") })
		require.Contains(t, p.scrape(t, "prometheus"), "sallyport_admission_requests_total")
		out := kubectl(t, "", "get", "lease", "-n", helm.Namespace, "-l", "sallyport.dev/replica", "-o", "jsonpath={.items[*].metadata.ownerReferences[*].uid}")
		require.Equal(t, string(p.object.UID), out, "the Lease ends with the pod")
	})
	t.Run("notices drift", func(t *testing.T) {
		// Twice, so that the second time the same event is counted and not written anew.
		for range 2 {
			drift(t, `[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":9}]`, "should be 3")
			drift(t, `[{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":3}]`, "As it was installed again")
		}
	})
	t.Run("keeps its certificate", func(t *testing.T) {
		kubectl(t, "", "delete", "secret", "-n", helm.Namespace, "sallyport-certs")
		eventually(t, func(c *assert.CollectT) {
			out, _, _ := tryKubectl(t.Context(), "", "get", "secret", "-n", helm.Namespace, "sallyport-certs", "-o", `jsonpath={.data.tls\.crt}`)
			require.NotEmpty(c, out)
		})
		refused(t, "*.example.com", "must not be a wildcard")
	})
	t.Run("is well", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), binary(), "doctor", "--kubeconfig", plane.Kubeconfig).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "All is well.")
		require.Contains(t, string(out), "Webhook configurations\n  as installed")
	})
	t.Run("applied again", func(t *testing.T) {
		running := runtimeFields(t)
		require.NotContains(t, "|"+running+"|", "|||", "each of them is there")
		// Helm is to overrule callLocally, and must overrule nothing else.
		for _, how := range [][]string{{"--force-conflicts"}, {"--server-side=false"}, {"--force-conflicts", "--server-side=true", "--set=webhooks.timeoutSeconds=4"}} {
			upgrade(t, slices.Concat(values, how)...)
			callLocally(t) // which the chart does not know
			require.Equal(t, running, runtimeFields(t), how)
		}
		mustHelm(t, "rollback", "sallyport", "1", "--force-conflicts")
		callLocally(t)
		require.Equal(t, running, runtimeFields(t))
		manifests, err := helm.Template(t.Context(), values...)
		require.NoError(t, err)
		kubectl(t, string(manifests), "apply", "--server-side", "--force-conflicts", "-f", "-")
		callLocally(t)
		require.Equal(t, running, runtimeFields(t))
		refused(t, "*.example.com", "must not be a wildcard")
	})
	p.stop(t)
	require.Empty(t, kubectl(t, "", "get", "lease", "-n", helm.Namespace, "-o", "name"))
	require.NotContains(t, p.logged(), "forbidden")

	// An API server before 1.34 lists objects before it watches them.
	older := startPod(t, ports, "KUBE_FEATURE_WatchListClient=false")
	older.waitUntilReady(t)
	older.stop(t)
	require.Empty(t, unused(t, from), "nobody needs these permissions")
}

// safe is a way out that is let through, and forgets something.
const safe = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: shop}
spec:
  hosts: [api.example.com]
  http: [{route: [{destination: {host: api.example.com}}]}]
`

const exemption = `
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressExemption
metadata: {name: test}
spec: {rules: [serviceentry/wildcard-host], namespace: pilot, kind: ServiceEntry, expiresAt: "2100-01-01T00:00:00Z", reason: test}
`

// refused waits until the API server refuses what is unsafe, by the server's word.
func refused(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) {
		_, stderr, err := tryKubectl(t.Context(), unsafe, "create", "--dry-run=server", "-f", "-")
		require.Error(c, err)
		for _, text := range want {
			require.Contains(c, stderr, text)
		}
	})
}

func eventually(t *testing.T, condition func(*assert.CollectT)) {
	t.Helper()
	require.EventuallyWithT(t, condition, time.Minute, 200*time.Millisecond)
}

// drift changes the webhook configuration, and waits for one more event about it.
func drift(t *testing.T, patch, want string) {
	t.Helper()
	count := func(c require.TestingT) int {
		out, _, err := tryKubectl(t.Context(), "", "get", "events", "-n", "default", "-o", `jsonpath={range .items[*]}{.count} {.message}{"\n"}{end}`)
		require.NoError(c, err)
		all := 0
		for line := range strings.Lines(out) {
			if number, message, _ := strings.Cut(line, " "); strings.Contains(message, want) {
				n, err := strconv.Atoi(number)
				require.NoError(c, err)
				all += n
			}
		}
		return all
	}
	before := count(t)
	kubectl(t, "", "patch", "validatingwebhookconfiguration", "sallyport", "--type=json", "-p", patch)
	eventually(t, func(c *assert.CollectT) { require.Greater(c, count(c), before) })
}

// runtimeFields returns what the server has written into what the chart has made.
func runtimeFields(t *testing.T) string {
	t.Helper()
	fields := func(kind, path string) string {
		return "|" + kubectl(t, "", "get", kind, "-n", helm.Namespace, "-o", "jsonpath="+path) + "|"
	}
	return fields("validatingwebhookconfiguration/sallyport", "{.webhooks[*].clientConfig.caBundle}") +
		fields("mutatingwebhookconfiguration/sallyport", "{.webhooks[*].clientConfig.caBundle}") +
		fields("mutatingwebhookconfiguration/sallyport", `{.webhooks[1].matchConditions[?(@.name=="needed")].expression}`) +
		fields("secret/sallyport-certs", `{.data.tls\.crt}`) + fields("secret/sallyport-certs", `{.metadata.annotations.sallyport\.dev/ca-phase}`)
}

// A use is something that the server has asked of the API server.
type use struct {
	verb, group, resource, name string
}

// auditLength returns where the audit log ends.
func auditLength(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(auditLog)
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return len(log)
}

// uses returns what the server has asked since the audit log had the length. Nothing may
// have been refused.
func uses(t *testing.T, from int) map[use]bool {
	t.Helper()
	log, err := os.ReadFile(auditLog)
	require.NoError(t, err)
	all := map[use]bool{}
	for line := range bytes.Lines(log[from:]) {
		var event struct {
			Verb           string
			ObjectRef      struct{ APIGroup, Resource, Subresource, Name string }
			ResponseStatus struct{ Code int }
		}
		require.NoError(t, json.Unmarshal(line, &event))
		require.NotEqual(t, 403, event.ResponseStatus.Code, string(line))
		ref := event.ObjectRef
		if ref.Subresource != "" {
			ref.Resource += "/" + ref.Subresource
		}
		all[use{event.Verb, ref.APIGroup, ref.Resource, ref.Name}] = true
		if event.Verb == "patch" && event.ResponseStatus.Code == 201 {
			// What is applied and was not there takes the right to create it too.
			all[use{"create", ref.APIGroup, ref.Resource, ref.Name}] = true
		}
	}
	return all
}

// unused returns the permissions of the release that the server has not used since the
// audit log had the length.
func unused(t *testing.T, from int) []string {
	t.Helper()
	var all []string
	used := uses(t, from)
	for _, rule := range granted(t) {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				is := false
				for u := range used {
					is = is || u.verb == verb && u.group == rule.APIGroups[0] && u.resource == resource &&
						(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, u.name))
				}
				if !is {
					all = append(all, strings.Join([]string{verb, rule.APIGroups[0], resource}, " "))
				}
			}
		}
	}
	return all
}

// granted returns the rules of the server's roles.
func granted(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	c := newClient(t)
	var inCluster rbacv1.ClusterRole
	require.NoError(t, c.Get(t.Context(), client.ObjectKey{Name: "sallyport"}, &inCluster))
	var inNamespace rbacv1.Role
	require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: helm.Namespace, Name: "sallyport"}, &inNamespace))
	return slices.Concat(inCluster.Rules, inNamespace.Rules)
}
