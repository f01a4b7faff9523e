// SPDX-License-Identifier: Apache-2.0

// Package helm runs the real Helm, built from its module, on Sallyport's chart.
package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// Namespace is where tests install the chart.
const Namespace = "sallyport-system"

// Profiles are those of the chart.
var Profiles = []string{"trial", "standard", "high-availability"}

// Everything is the argument that switches on all that is off by default.
const Everything = "--set=egressGateway.create=true,egressGateway.mutualTLS=true,waypoint.create=true," +
	"metrics.serviceMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true," +
	"metrics.readers[0].namespace=monitoring,metrics.readers[0].name=prometheus," +
	"breakGlass.subjects[0].kind=Group,breakGlass.subjects[0].name=on-call,breakGlass.subjects[0].apiGroup=rbac.authorization.k8s.io," +
	"webhooks.excludedNamespaces={kube-system}"

// Chart is the folder of the chart.
func Chart() string { return filepath.Join(cluster.Root(), "deploy", "chart") }

// Run runs Helm with the arguments, and what it keeps of releases and repositories in a
// folder of its own. It returns what Helm wrote to standard output; the error has what it
// wrote elsewhere.
func Run(ctx context.Context, args ...string) ([]byte, error) {
	home, err := os.MkdirTemp("", "sallyport-helm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	binary, err := tool()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("helm %s: %w: %s", args[0], err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// tool returns the path of Helm, which Go builds if it is not in its cache.
var tool = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "tool", "-modfile=test/tools/deploy/go.mod", "-n", "helm")
	cmd.Dir = cluster.Root()
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("build helm: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// Template renders the chart, with further arguments of "helm template" such as
// "--set=profile=trial".
func Template(ctx context.Context, args ...string) ([]byte, error) {
	return Run(ctx, append([]string{"template", "sallyport", Chart(), "--namespace", Namespace}, args...)...)
}

// Objects returns the objects of manifests, in their order.
func Objects(manifests []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for i, document := range bytes.Split(append([]byte("\n"), manifests...), []byte("\n---\n")) {
		object := new(unstructured.Unstructured)
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	return objects, nil
}
