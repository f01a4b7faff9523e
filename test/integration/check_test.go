// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// check runs "sallyport check --cluster" and returns what it says and its exit code.
func check(t *testing.T, stdin string, args ...string) (out string, code int) {
	t.Helper()
	args = append([]string{"check", "--cluster", "--kubeconfig", controlPlane.Kubeconfig}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(controlPlane.Dir, "sallyport"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, _ := cmd.CombinedOutput() // the exit code tells
	return string(text), cmd.ProcessState.ExitCode()
}

// TestCheckCluster: the command judges what is stored as admission would judge it,
// by the policies of the cluster, and files by what is there.
func TestCheckCluster(t *testing.T) {
	out, code := check(t, "", "-n", old)
	require.Equal(t, 1, code, out)
	require.Regexp(t, `old/serviceentries/violation:\d+:\d+: denied: spec.hosts\[0\]: must not be a wildcard`, out)
	require.NotContains(t, out, "not evaluated", "the cluster is the whole mesh")

	ns := labeledNamespace(t, "check-cluster")
	kubectl(t, fmt.Sprintf(cleanEntry, "v1"), "create", "-n", ns, "-f", "-")
	out, code = check(t, "", "-n", ns)
	require.Equal(t, 0, code, out)
	apply(t, egressPolicy("check-cluster", "check-cluster", "  hosts: {unlisted: Deny}\n"))
	out, code = check(t, "", "-n", ns)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "(serviceentry/allowed-host)")

	theirs := strings.Replace(fmt.Sprintf(cleanEntry, "v1"), "exportTo: [.]", "exportTo: ['*']", 1)
	other := newNamespace(t)
	kubectl(t, strings.ReplaceAll(theirs, "api.example.com", "taken.example.org"), "create", "-n", other, "-f", "-")
	out, code = check(t, strings.ReplaceAll(theirs, "api.example.com", "taken.example.org"), "-n", newNamespace(t), "-")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "(serviceentry/host-owner)")
}

// TestCheckClusterAway: a context that does not exist is wrong usage, a cluster that
// does not answer is not.
func TestCheckClusterAway(t *testing.T) {
	out, code := check(t, "", "--kube-context", "nowhere")
	require.Equal(t, 2, code, out)
	require.Contains(t, out, `context "nowhere" does not exist`)

	out, code = check(t, "", "--kubeconfig", away(t))
	require.Equal(t, 4, code, out)
	require.Contains(t, out, "connection refused")
}

// away returns a kubeconfig for a cluster that does not answer.
func away(t *testing.T) string {
	t.Helper()
	kubeconfig, err := os.ReadFile(controlPlane.Kubeconfig)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	server := regexp.MustCompile(`server: .*`).ReplaceAll(kubeconfig, []byte("server: https://127.0.0.1:1"))
	require.NoError(t, os.WriteFile(path, server, 0o600))
	return path
}
