// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/helm"
)

// TestProfiles: each profile is installed into a cluster that knows nothing of Sallyport,
// is not changed by being applied again, and goes without a trace.
func TestProfiles(t *testing.T) {
	for _, profile := range helm.Profiles {
		t.Run(profile, func(t *testing.T) {
			before := everythingThere(t)
			values := []string{"--set=profile=" + profile}
			if profile == "high-availability" {
				values = append(values, helm.Everything)
			}
			install(t, values...)
			installed := released(t)

			t.Run("applied again", func(t *testing.T) {
				// With and without server-side apply, as Helm 4 and Helm 3 do.
				upgrade(t, values...)
				unchanged(t, installed)
				upgrade(t, append(values, "--server-side=false")...)
				unchanged(t, installed)
				manifests, err := helm.Template(t.Context(), values...)
				require.NoError(t, err)
				stdout, stderr, err := tryKubectl(t.Context(), string(manifests), "diff", "--server-side", "-f", "-")
				require.NoError(t, err, stdout+stderr)
				kubectl(t, string(manifests), "apply", "--server-side", "-f", "-")
			})
			t.Run("restricted", testRestricted)

			out := mustHelm(t, "uninstall", "sallyport")
			require.Contains(t, out, "release \"sallyport\" uninstalled")
			left := everythingThere(t)
			require.ElementsMatch(t, []string{
				"CustomResourceDefinition  egressexemptions.policy.sallyport.dev", "CustomResourceDefinition  egresspolicies.policy.sallyport.dev",
			}, without(left, before), "all that is left")
			require.Empty(t, without(before, left))
			kubectl(t, "", "delete", "-k", filepath.Join(cluster.Root(), "deploy", "crds"))
		})
	}
}

// without returns what is in a and not in b.
func without(a, b []string) []string {
	var rest []string
	there := map[string]bool{}
	for _, s := range b {
		there[s] = true
	}
	for _, s := range a {
		if !there[s] {
			rest = append(rest, s)
		}
	}
	return rest
}

// testRestricted (R23): the pods are admitted where only restricted ones are, and by more
// than one would think.
func testRestricted(t *testing.T) {
	c := newClient(t)
	restricted := podOf(t, c)
	require.NoError(t, c.Create(t.Context(), restricted, client.DryRunAll))
	container := restricted.Spec.Containers[0].SecurityContext
	require.True(t, *container.ReadOnlyRootFilesystem)
	require.Nil(t, restricted.Spec.SecurityContext.RunAsUser, "OpenShift chooses one")

	loose := podOf(t, c)
	loose.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	err := c.Create(t.Context(), loose, client.DryRunAll)
	require.True(t, apierrors.IsForbidden(err), err)
	require.ErrorContains(t, err, `violates PodSecurity "restricted:latest"`)
}

// podOf returns the pod that a controller would make for the Deployment.
func podOf(t *testing.T, c client.Client) *corev1.Pod {
	t.Helper()
	var deployment appsv1.Deployment
	require.NoError(t, c.Get(t.Context(), client.ObjectKey{Namespace: helm.Namespace, Name: "sallyport"}, &deployment))
	pod := &corev1.Pod{ObjectMeta: *deployment.Spec.Template.ObjectMeta.DeepCopy(), Spec: *deployment.Spec.Template.Spec.DeepCopy()}
	pod.GenerateName, pod.Namespace = "sallyport-", helm.Namespace
	return pod
}

// TestDefinitions: Helm does not upgrade CRDs, so the chart refuses to go on without, and
// says what to do.
func TestDefinitions(t *testing.T) {
	install(t)
	older := strings.Replace(readFile(t, "deploy/crds/policy.sallyport.dev_egresspolicies.yaml"), "maxItems: 256", "maxItems: 255", 1)
	kubectl(t, older, "apply", "--server-side", "--force-conflicts", "-f", "-")
	_, err := runHelm(t.Context(), "upgrade", "sallyport", helm.Chart())
	require.ErrorContains(t, err, "The CustomResourceDefinition egresspolicies.policy.sallyport.dev in the cluster is not that of this chart")
	require.ErrorContains(t, err, "helm show crds CHART | kubectl apply --server-side --force-conflicts -f -")
	upgrade(t, "--set=crds.check=false")

	definitions, err := helm.Run(t.Context(), "show", "crds", helm.Chart())
	require.NoError(t, err)
	kubectl(t, string(definitions), "apply", "--server-side", "--force-conflicts", "-f", "-")
	upgrade(t)
}

// TestKubectl: what is made of the chart does without Helm, in one go.
func TestKubectl(t *testing.T) {
	c, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	deploy := filepath.Join(cluster.Root(), "deploy")
	_, _, _ = tryKubectl(t.Context(), "", "delete", "-k", filepath.Join(deploy, "crds")) // of other tests
	// The namespace's labels are the test's.
	apply := func(args ...string) string {
		return kubectl(t, "", append([]string{"apply", "--server-side", "--force-conflicts"}, args...)...)
	}
	remove := func(args ...string) {
		kubectl(t, "", append([]string{"delete", "--wait=false", "--ignore-not-found"}, args...)...)
	}
	file := filepath.Join(t.TempDir(), "install.yaml")
	// A namespace does not go where nobody finalizes it.
	require.NoError(t, os.WriteFile(file, []byte(withoutNamespace(readFile(t, "deploy/install.yaml"))), 0o600))
	kubectl(t, "", "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", filepath.Join(deploy, "webhooks.yaml"))
	apply("-f", file)
	_, err = c.AppsV1().Deployments(helm.Namespace).Get(t.Context(), "sallyport", metav1.GetOptions{})
	require.NoError(t, err)
	stdout, stderr, err := tryKubectl(t.Context(), "", "diff", "--server-side", "-f", file)
	require.NoError(t, err, stdout+stderr)
	remove("-f", file)

	apply("-k", filepath.Join(deploy, "crds"))
	kubectl(t, "", "wait", "--for=condition=Established", "--timeout=30s", "crd/egresspolicies.policy.sallyport.dev")
	for _, overlay := range []string{"base", "audit-only", "cert-manager"} {
		out, err := exec.CommandContext(t.Context(), plane.Kubectl, "kustomize", filepath.Join(deploy, "kustomize", overlay)).Output()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, []byte(withoutNamespace(string(out))), 0o600))
		require.Contains(t, apply("-f", file), "egresspolicy.policy.sallyport.dev/default serverside-applied")
		remove("-f", file)
	}
}

// withoutNamespace leaves out the document with the Namespace.
func withoutNamespace(manifests string) string {
	var rest []string
	for document := range strings.SplitSeq("\n"+manifests, "\n---\n") {
		if !strings.Contains("\n"+document, "\nkind: Namespace\n") {
			rest = append(rest, document)
		}
	}
	return strings.Join(rest, "\n---\n")
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root(), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(data)
}
