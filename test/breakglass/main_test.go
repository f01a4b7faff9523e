// SPDX-License-Identifier: Apache-2.0

// Package breakglass tests through a real API server, with real users, who can
// have a denied change let through, with the server there and with it away.
package breakglass

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// access is what users may do besides breaking the glass: alice and bob edit
// Istio's objects everywhere, tom may do everything, but in a namespace.
const access = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: mesh-editor}
rules:
- {apiGroups: [networking.istio.io], resources: ['*'], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: mesh-editors}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: mesh-editor}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: tenant}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: owner, namespace: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: tom}
`

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, resources: [{group: networking.istio.io}]}
- {level: None}
`

// A world is a control plane with Sallyport and the users.
type world struct {
	cluster  *cluster.Cluster
	server   *sallyport.Server
	auditLog string
	users    map[string]string // kubeconfig files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	policyFile := filepath.Join(dir, "policy.yaml")
	require.NoError(t, os.WriteFile(policyFile, []byte(auditPolicy), 0o600))
	w := &world{auditLog: filepath.Join(dir, "audit.log"), users: map[string]string{}}
	w.cluster = cluster.New(t, cluster.Options{APIServerFlags: map[string]string{
		"audit-policy-file": policyFile, "audit-log-path": w.auditLog,
	}})
	w.users["admin"] = w.cluster.Kubeconfig
	for name, group := range map[string]string{"alice": "mesh-on-call", "bob": "developers", "tom": "tenants"} {
		var err error
		_, w.users[name], err = w.cluster.User(name, group)
		require.NoError(t, err)
	}
	w.kubectl(t, "admin", access, "apply", "-f", "-")
	w.kubectl(t, "admin", "", "apply", "-f", filepath.Join(cluster.Root(), "deploy", "samples", "rbac", "break-glass.yaml"))
	var err error
	w.server, err = sallyport.Start(t.Context(), w.cluster, sallyport.Options{})
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the API server reads policies once a second
		_, warnings, _ := w.run(t, "alice", entry("shop", "probe", outage, "probe"), "create", "--dry-run=server", "-f", "-")
		return strings.Contains(warnings, "not judged by sallyport")
	}, time.Minute, 100*time.Millisecond)
	return w
}

func (w *world) run(t *testing.T, user, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.cluster.Kubectl, append([]string{"--kubeconfig", w.users[user]}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// kubectl runs kubectl, which must succeed, and returns its output and warnings.
func (w *world) kubectl(t *testing.T, user, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := w.run(t, user, stdin, args...)
	require.NoError(t, err, stderr)
	return stdout, stderr
}

// refused runs kubectl, which must be refused, and returns why.
func (w *world) refused(t *testing.T, user, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := w.run(t, user, stdin, args...)
	require.Error(t, err, stdout)
	return stderr
}

// audited returns the annotations of the last request in the audit log that was
// about the object in the namespace shop and did not only read it.
func (w *world) audited(t *testing.T, name string) map[string]string {
	t.Helper()
	var annotations map[string]string
	require.Eventually(t, func() bool {
		log, err := os.ReadFile(w.auditLog)
		require.NoError(t, err)
		for line := range bytes.Lines(log) {
			var event struct {
				Verb        string
				ObjectRef   struct{ Namespace, Name string }
				Annotations map[string]string
			}
			if json.Unmarshal(line, &event) == nil && event.Verb != "get" &&
				event.ObjectRef.Namespace == "shop" && event.ObjectRef.Name == name {
				annotations = event.Annotations
			}
		}
		return annotations != nil
	}, 10*time.Second, 50*time.Millisecond)
	return annotations
}

// metric returns the value of a series as it is written, empty if it is not there.
func (w *world) metric(t *testing.T, series string) string {
	t.Helper()
	body, err := w.server.Scrape(t.Context(), w.cluster.Config)
	require.NoError(t, err)
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
