// SPDX-License-Identifier: Apache-2.0

// Package install installs Sallyport as operators do, with Helm, kubectl and kustomize,
// into a real API server, and runs the server as its Deployment says.
package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/helm"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// The control plane, shared by the tests of the package. Each installs Sallyport and
// removes it again.
var (
	plane    *cluster.Cluster
	auditLog string
)

const user = "system:serviceaccount:" + helm.Namespace + ":sallyport"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sallyport-install-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return 1, err
	}
	definitions, err := definitionsOfOthers(ctx)
	if err != nil {
		return 1, err
	}
	auditLog = filepath.Join(dir, "audit.log")
	plane, err = cluster.Start(ctx, cluster.Options{
		APIServerFlags: map[string]string{"audit-policy-file": policy, "audit-log-path": auditLog},
		CRDPaths:       definitions, WithoutCRDs: true,
	})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	if err := sallyport.Build(ctx, binary()); err != nil {
		return 1, err
	}
	if err := createNamespaces(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func binary() string { return filepath.Join(plane.Dir, "sallyport") }

// auditPolicy has the API server write down what the server asks of it, and what becomes
// of it.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ["` + user + `"]}
- {level: None}
`

// definitionsOfOthers returns the files with the CRDs that the chart has objects of.
func definitionsOfOthers(ctx context.Context) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator", "sigs.k8s.io/gateway-api")
	cmd.Dir = filepath.Join(cluster.Root(), "test", "tools", "definitions")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("download the definitions: %w", err)
	}
	dirs := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var module struct{ Path, Dir string }
		if err := decoder.Decode(&module); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		dirs[module.Path] = module.Dir
	}
	cmd = exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	cmd.Dir = cluster.Root()
	if out, err = cmd.Output(); err != nil {
		return nil, fmt.Errorf("find cert-manager: %w", err)
	}
	certManager := filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds", "cert-manager.io_")
	monitoring := filepath.Join(dirs["github.com/prometheus-operator/prometheus-operator"], "example", "prometheus-operator-crd", "monitoring.coreos.com_")
	return []string{
		certManager + "certificates.yaml", certManager + "issuers.yaml",
		monitoring + "servicemonitors.yaml", monitoring + "prometheusrules.yaml",
		filepath.Join(dirs["sigs.k8s.io/gateway-api"], "config", "crd", "standard", "gateway.networking.k8s.io_gateways.yaml"),
	}, nil
}

// createNamespaces creates those that installations and the platform's objects stand in.
// No pods but restricted ones run in Sallyport's.
func createNamespaces(ctx context.Context) error {
	c, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		return err
	}
	for name, labels := range map[string]map[string]string{
		helm.Namespace: {"pod-security.kubernetes.io/enforce": "restricted"}, "istio-egress": nil, "shop": nil, "pilot": nil,
	} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if _, err := c.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// install installs the chart with the arguments, and removes it after the test.
func install(t *testing.T, args ...string) {
	t.Helper()
	installChart(t, helm.Chart(), args...)
}

func installChart(t *testing.T, chart string, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		_, _ = runHelm(context.WithoutCancel(t.Context()), "uninstall", "sallyport") // if the test has not
	})
	mustHelm(t, append([]string{"install", "sallyport", chart}, args...)...)
}

func upgrade(t *testing.T, args ...string) {
	t.Helper()
	mustHelm(t, append([]string{"upgrade", "sallyport", helm.Chart()}, args...)...)
}

func mustHelm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runHelm(t.Context(), args...)
	require.NoError(t, err)
	return string(out)
}

func runHelm(ctx context.Context, args ...string) ([]byte, error) {
	return helm.Run(ctx, append(args, "--kubeconfig", plane.Kubeconfig, "--namespace", helm.Namespace)...)
}

// kubectl runs the real kubectl, which must succeed.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	// Cleanups need it too.
	stdout, stderr, err := tryKubectl(context.WithoutCancel(t.Context()), stdin, args...)
	require.NoError(t, err, stdout+stderr)
	return stdout
}

func tryKubectl(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, plane.Kubectl, append([]string{"--kubeconfig", plane.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	c, err := client.New(plane.Config, client.Options{})
	require.NoError(t, err)
	return c
}

// released returns the objects of the release as the API server has them.
func released(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	objects, err := helm.Objects([]byte(mustHelm(t, "get", "manifest", "sallyport")))
	require.NoError(t, err)
	require.NotEmpty(t, objects)
	c := newClient(t)
	for _, object := range objects {
		require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(object), object), object.GetKind()+" "+object.GetName())
	}
	return objects
}

// unchanged checks that the release's objects are as they were, with the time at which
// anything in them was last changed. The resourceVersion alone does not count: the API
// server gives a new one to objects with a defaulted status.
func unchanged(t *testing.T, was []*unstructured.Unstructured) {
	t.Helper()
	is := released(t)
	require.Len(t, is, len(was))
	for i := range was {
		a, b := was[i].DeepCopy(), is[i].DeepCopy()
		a.SetResourceVersion("")
		b.SetResourceVersion("")
		require.Empty(t, cmp.Diff(a.Object, b.Object), b.GetKind()+" "+b.GetName())
	}
}

// comesAndGoes are the kinds of objects that others make and remove: the API server and
// controllers.
var comesAndGoes = []string{"APIService", "Endpoints", "EndpointSlice", "Event", "Lease"}

// everythingThere lists all objects of all kinds, but for those that come and go by
// themselves.
func everythingThere(t *testing.T) []string {
	t.Helper()
	d, err := discovery.NewDiscoveryClientForConfig(plane.Config)
	require.NoError(t, err)
	lists, err := d.ServerPreferredResources()
	require.NoError(t, err)
	c := newClient(t)
	all := map[string]bool{}
	for _, list := range lists {
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if !slices.Contains(resource.Verbs, "list") || slices.Contains(comesAndGoes, resource.Kind) {
				continue
			}
			found := new(metav1.PartialObjectMetadataList)
			found.APIVersion, found.Kind = list.GroupVersion, resource.Kind+"List"
			err := c.List(t.Context(), found)
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || meta.IsNoMatchError(err) {
				continue // it has just gone
			}
			require.NoError(t, err, resource.Kind)
			for j := range found.Items {
				all[strings.Join([]string{resource.Kind, found.Items[j].Namespace, found.Items[j].Name}, " ")] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
