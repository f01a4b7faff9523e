// SPDX-License-Identifier: Apache-2.0

// Package integration tests Sallyport through a real API server: the binary as
// it ships, its webhooks registered as they are deployed, kubectl in front.
package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// The control plane and the server, shared by the tests of the package. Each
// test works in a namespace of its own.
var (
	controlPlane *cluster.Cluster
	server       *sallyport.Server
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ctx := context.Background()
	controlPlane, err = cluster.Start(ctx, cluster.Options{})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, controlPlane.Stop()) }()
	if err := createBefore(ctx); err != nil {
		return 1, err
	}
	server, err = sallyport.Start(ctx, controlPlane, sallyport.Options{})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	return m.Run(), nil
}

// old is a namespace in which objects stood before Sallyport came.
const old = "old"

const oldEntry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: %s
  namespace: old
  finalizers: [example.com/hold]
spec:
  hosts: ["*.example.com"]
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`

// createBefore creates what today's rules refuse.
func createBefore(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: old}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for _, name := range []string{"finalizer", "violation"} {
		if out := run(ctx, fmt.Sprintf(oldEntry, name), "create", "-f", "-"); out.err != nil {
			return fmt.Errorf("%w: %s", out.err, out.stderr)
		}
	}
	return nil
}

// newNamespace creates a namespace for the test.
func newNamespace(t *testing.T) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return ns.Name
}

type output struct {
	stdout, stderr string
	err            error
}

// run runs the real kubectl.
func run(ctx context.Context, stdin string, args ...string) output {
	cmd := exec.CommandContext(ctx, controlPlane.Kubectl, append([]string{"--kubeconfig", controlPlane.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return output{stdout: stdout.String(), stderr: stderr.String(), err: err}
}

// kubectl runs kubectl, which must succeed.
func kubectl(t *testing.T, stdin string, args ...string) output {
	t.Helper()
	out := run(t.Context(), stdin, args...)
	require.NoError(t, out.err, out.stderr)
	return out
}

// refused runs kubectl, which must be refused, and returns why.
func refused(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out := run(t.Context(), stdin, args...)
	require.Error(t, out.err, out.stdout)
	return out.stderr
}
