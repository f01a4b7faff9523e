// SPDX-License-Identifier: Apache-2.0

// Package route tests that routes are led through the egress gateway, and stay so,
// whatever tool writes them: through a real API server, with the binary as it ships
// and kubectl in front.
package route

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

var controlPlane *cluster.Cluster

const configuration = `
apiVersion: config.sallyport.dev/v1alpha1
kind: Configuration
mesh:
  egressGateways:
  - {name: default, gateway: istio-egress/egress, service: istio-egressgateway.istio-egress.svc.cluster.local}
`

// platform is what the platform team has set up. Policies select namespaces by the
// label "gateway".
const platform = `
apiVersion: v1
kind: Namespace
metadata: {name: istio-egress}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress, namespace: istio-egress}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
  - port: {number: 443, name: tls, protocol: TLS}
    tls: {mode: PASSTHROUGH}
    hosts: ["*"]
---
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: inject}
spec:
  namespaceSelector: {matchLabels: {gateway: inject}}
  gateway: {mode: Inject, name: default}
  defaults: {timeout: 15s}
---
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: require}
spec:
  namespaceSelector: {matchLabels: {gateway: require}}
  gateway: {mode: Require, name: default}
---
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: ambient}
spec:
  namespaceSelector: {matchLabels: {gateway: ambient}}
  defaults: {exportTo: ["."]}
  waypoint: {mode: Inject}
`

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
	file := filepath.Join(controlPlane.Dir, "config.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return 1, err
	}
	server, err := sallyport.Start(ctx, controlPlane, sallyport.Options{Args: []string{"--config", file}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if out := run(ctx, platform, "apply", "-f", "-"); out.err != nil {
		return 1, fmt.Errorf("%w: %s", out.err, out.stderr)
	}
	return m.Run(), nil
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

// soon is how long to wait for what takes a moment, and tick how often to look.
const (
	soon = 10 * time.Second
	tick = 20 * time.Millisecond
)

// A space is a namespace in which a test works.
type space struct {
	*testing.T
	name string
}

// newSpace creates a namespace and waits until the policy for the label holds there.
func newSpace(t *testing.T, label string) space {
	t.Helper()
	s := space{t, "test-" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
	out := run(t.Context(), "", "create", "namespace", s.name)
	require.NoError(t, out.err, out.stderr)
	s.setPolicy(label)
	return s
}

// setPolicy sets the label and waits until the policy holds.
func (s space) setPolicy(label string) {
	s.Helper()
	s.kubectl("", "label", "--overwrite", "namespace", s.name, "gateway="+label)
	require.Eventually(s, func() bool {
		out := run(s.Context(), plain("probe.example.org"), "create", "--dry-run=server", "-n", s.name, "-f", "-")
		switch label {
		case "inject":
			return strings.Contains(out.stderr, "not led through the egress gateway")
		case "require":
			return strings.Contains(out.stderr, "leads the routes")
		default:
			return !strings.Contains(out.stderr, "gateway")
		}
	}, soon, tick)
}

// kubectl runs kubectl in the namespace, which must succeed.
func (s space) kubectl(stdin string, args ...string) output {
	s.Helper()
	out := run(s.Context(), stdin, append([]string{"-n", s.name}, args...)...)
	require.NoError(s, out.err, out.stderr)
	return out
}

// refused runs kubectl, which must be refused, and returns why.
func (s space) refused(stdin string, args ...string) string {
	s.Helper()
	out := run(s.Context(), stdin, append([]string{"-n", s.name}, args...)...)
	require.Error(s, out.err, out.stdout)
	return out.stderr
}

// An object is what tests look at.
type object struct {
	Metadata struct {
		Generation      int64             `json:"generation"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
		Labels          map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec map[string]any `json:"spec"`
}

// get returns the object that all tests call "api".
func (s space) get(kind string) object {
	s.Helper()
	return s.parse(s.kubectl("", "get", kind, "api", "-o", "json").stdout)
}

func (s space) parse(text string) object {
	s.Helper()
	var o object
	require.NoError(s, json.Unmarshal([]byte(text), &o))
	return o
}
