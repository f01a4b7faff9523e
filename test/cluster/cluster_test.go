// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/discovery"
)

// victim makes TestMain start a cluster, print what it consists of, and die in
// the way that the variable names.
const victim = "SALLYPORT_TEST_VICTIM"

func TestMain(m *testing.M) {
	if how := os.Getenv(victim); how != "" {
		dieAfterStart(how)
	}
	os.Exit(m.Run())
}

func dieAfterStart(how string) {
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	pids, err := os.ReadFile(filepath.Join(c.Dir, "pids"))
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Dir, strings.Join(strings.Fields(string(pids)), " "))
	switch how {
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(3)
	}
	select {} // until the signal
}

// TestNothingIsLeft: whichever way the owner of a cluster dies, its processes
// and its folder vanish.
func TestNothingIsLeft(t *testing.T) {
	tests := []struct {
		how    string
		signal os.Signal
	}{
		{"panic", nil},
		{"exit", nil},
		{"interrupt", os.Interrupt},
		{"kill", syscall.SIGKILL},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), victim+"="+tt.how)
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			fields := strings.Fields(line)
			require.Len(t, fields, 3, "a folder and the ids of etcd and kube-apiserver: %s", line)
			if tt.signal != nil {
				require.NoError(t, cmd.Process.Signal(tt.signal))
			}
			require.Error(t, cmd.Wait())
			for _, field := range fields[1:] {
				pid, err := strconv.Atoi(field)
				require.NoError(t, err)
				require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, 20*time.Second, 50*time.Millisecond, "process %d lives on", pid)
			}
			require.Eventually(t, func() bool {
				_, err := os.Stat(fields[0])
				return os.IsNotExist(err)
			}, 20*time.Second, 50*time.Millisecond, "%s is still there", fields[0])
		})
	}
}

// TestClusters starts two at once and uses both.
func TestClusters(t *testing.T) {
	for i := range 2 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			c := New(t, Options{APIServerFlags: map[string]string{"max-requests-inflight": "123"}})
			client, err := discovery.NewDiscoveryClientForConfig(c.Config)
			require.NoError(t, err)
			for _, version := range []string{"networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3", "security.istio.io/v1", "policy.sallyport.dev/v1alpha1"} {
				_, err := client.ServerResourcesForGroupVersion(version)
				require.NoError(t, err, version)
			}
			version, err := client.ServerVersion()
			require.NoError(t, err)
			require.Equal(t, "1.37", version.Major+"."+version.Minor)

			_, kubeconfig, err := c.User("system:serviceaccount:a:b", "system:authenticated")
			require.NoError(t, err)
			whoami := kubectl(t, c, "--kubeconfig", kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
			require.Equal(t, "system:serviceaccount:a:b", whoami)
			kubectl(t, c, "--kubeconfig", c.Kubeconfig, "create", "namespace", "a")
		})
	}
}

// TestAFailedStartSaysWhy: the logs' ends are part of the error.
func TestAFailedStartSaysWhy(t *testing.T) {
	_, err := Start(t.Context(), Options{APIServerFlags: map[string]string{"no-such-flag": "1"}})
	require.ErrorContains(t, err, "unknown flag: --no-such-flag")
}

func kubectl(t *testing.T, c *Cluster, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), c.Kubectl, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
