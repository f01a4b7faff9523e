// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
	examined "github.com/sallyport-dev/sallyport/webhook/doctor"
)

// doctor runs "sallyport doctor" and returns what it says and its exit code.
func doctor(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	args = append([]string{"doctor", "--kubeconfig", controlPlane.Kubeconfig}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(controlPlane.Dir, "sallyport"), args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	_ = cmd.Run() // the exit code tells
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// TestDoctor: a running installation is well, in words and in JSON.
func TestDoctor(t *testing.T) {
	grant(t)
	out, stderr, code := doctor(t, "--expect", manifestsOf(t, "sallyport"))
	require.Equal(t, 0, code, out+stderr)
	require.Regexp(t, `^Certificates \(mode self, phase steady\)
  ROLE +ENDS +LEFT +RENEWED FROM +NAMES
  leaf +20\S+Z +\d+d \(100 %\) +20\S+Z +sallyport.sallyport-system.svc, localhost
  ca +20\S+Z +\d+[dy]\S* \(100 %\) +20\S+Z +sallyport.sallyport-system.svc, localhost
  ValidatingWebhookConfiguration sallyport: trusts the certificate
  MutatingWebhookConfiguration sallyport: trusts the certificate
  This clock and the API server's differ by 0s.
Definitions
  all CRDs are there
Reachability
  a dry run of an unsafe ServiceEntry in namespace default was refused, as it should be
Webhook configurations
  as installed
Permissions
  service account sallyport-system/sallyport may do what it needs
Replicas
  \S+: version \S+, policies (\d+|none yet), since 20.*
Policies
(  .*\n)*All is well.
$`, out)

	out, _, code = doctor(t, "-o", "json")
	require.Equal(t, 0, code, out)
	var result struct {
		APIVersion, Kind string
		Certificates     certs.Status
		Sections         []examined.Section
		Summary          struct{ Problems, Unknown *int }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, "cli.sallyport.dev/v1alpha1", result.APIVersion)
	require.Equal(t, "DoctorResult", result.Kind)
	require.Equal(t, certs.ModeSelf, result.Certificates.Mode)
	require.Len(t, result.Certificates.Certificates, 2)
	require.Len(t, result.Sections, 6)
	require.Contains(t, result.Sections[2].Facts[0], "not compared: there is no ConfigMap sallyport-system/sallyport")
	require.Zero(t, *result.Summary.Problems)
	require.Zero(t, *result.Summary.Unknown)
}

// grant gives the server's service account what doctor says that it needs.
func grant(t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	var rules []rbacv1.PolicyRule
	for _, g := range examined.Grants(certs.ModeSelf, "sallyport", "sallyport-certs") {
		rules = append(rules, g.Rule)
	}
	meta := metav1.ObjectMeta{Name: "sallyport-doctor"}
	_, err = client.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "sallyport-system", Name: "sallyport"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		require.NoError(t, client.RbacV1().ClusterRoleBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{}))
		require.NoError(t, client.RbacV1().ClusterRoles().Delete(ctx, meta.Name, metav1.DeleteOptions{}))
	})
}

// manifestsOf returns a file with what the API server is told now.
func manifestsOf(t *testing.T, name string) string {
	t.Helper()
	var manifests []string
	for _, kind := range []string{"validatingwebhookconfiguration", "mutatingwebhookconfiguration"} {
		manifests = append(manifests, kubectl(t, "", "get", kind, name, "-o", "yaml").stdout)
	}
	file := filepath.Join(t.TempDir(), "webhooks.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(manifests, "---\n")), 0o600))
	return file
}

// TestDoctorDiagnoses: each illness is told by its name, with what to do.
func TestDoctorDiagnoses(t *testing.T) {
	ns := newNamespace(t)
	out, _, code := doctor(t)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   service account sallyport-system/sallyport may not list egresspolicies, watch egresspolicies, list egressexemptions")
	require.Contains(t, out, ": no policy is known and the server does not get ready; apply the installation's RBAC again")

	out, _, code = doctor(t, "--service", ns+"/sallyport")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   no server is running: look at the Deployment and its pods")

	file := manifestsOf(t, "sallyport")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, bytes.Replace(text, []byte("timeoutSeconds: 3"), []byte("timeoutSeconds: 5"), 1), 0o600))
	out, _, code = doctor(t, "--expect", file)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   ValidatingWebhookConfiguration sallyport: webhook validate.sallyport.dev: timeoutSeconds is 3, should be 5; apply the manifests again, or install the change")

	kubectl(t, `
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressExemption
metadata: {name: ends-soon}
spec: {rules: [serviceentry/wildcard-host], namespace: `+ns+`, kind: ServiceEntry, expiresAt: "`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`", reason: test}
`, "create", "-f", "-")
	t.Cleanup(func() { run(context.WithoutCancel(t.Context()), "", "delete", "egressexemption", "ends-soon") })
	out, _, code = doctor(t)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   EgressExemption ends-soon expires on ")

	kubectl(t, `
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: lenient}
spec: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: `+ns+`}}, rules: [{name: serviceentry/static-endpoints, action: Warn}]}
`, "create", "-f", "-")
	t.Cleanup(func() { run(context.WithoutCancel(t.Context()), "", "delete", "egresspolicy", "lenient") })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		out, _, _ := doctor(t, "--probe-namespace", ns)
		require.Contains(c, out, "Wrong:   a dry run of an unsafe ServiceEntry in namespace "+ns+" was admitted: a policy may only warn here")
	}, time.Minute, time.Second)
}

const lease = `
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: sallyport-%[1]s, namespace: sallyport-system, labels: {sallyport.dev/replica: "true"}, annotations: {sallyport.dev/version: v0}}
spec: {holderIdentity: %[1]s, leaseDurationSeconds: 150, acquireTime: %[2]q, renewTime: %[2]q}
`

// TestReplicas: one that died is told of for an hour, and then cleaned away by others.
func TestReplicas(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(metav1.RFC3339Micro) }
	kubectl(t, fmt.Sprintf(lease, "died", ago(10*time.Minute)), "create", "-f", "-")
	t.Cleanup(func() {
		run(context.WithoutCancel(t.Context()), "", "delete", "lease", "-n", "sallyport-system", "sallyport-died")
	})
	kubectl(t, fmt.Sprintf(lease, "forgotten", ago(2*time.Hour)), "create", "-f", "-")
	out, _, code := doctor(t)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   died has gone without a word; look at its pod, if there still is one")
	require.NotContains(t, out, "forgotten")
	require.NotContains(t, out, "different versions", "the dead do not count")
	require.Eventually(t, func() bool {
		return run(t.Context(), "", "get", "lease", "-n", "sallyport-system", "sallyport-forgotten").err != nil
	}, 2*time.Minute, time.Second)
}

// TestDrift (R30): who changes the webhook configurations is noticed, and who puts them
// back.
func TestDrift(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "deploy", "webhooks.yaml"))
	require.NoError(t, err)
	// Like ours by another name, and for no namespace.
	text = bytes.ReplaceAll(text, []byte("  name: sallyport\n"), []byte("  name: drifting\n"))
	text = bytes.ReplaceAll(text, []byte("  namespaceSelector: {}\n"), []byte("  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: nowhere}}\n"))
	text = bytes.ReplaceAll(text, []byte("sallyport-break-glass-outage"), []byte("drifting"))
	file := filepath.Join(t.TempDir(), "webhooks.yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	kubectl(t, "", "apply", "--server-side", "-f", file)
	t.Cleanup(func() { run(context.WithoutCancel(t.Context()), "", "delete", "-f", file) })
	watching, err := sallyport.Run(t.Context(), controlPlane, "drift", sallyport.Options{Args: []string{"--expect", file, "--webhook-configuration", "drifting"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, watching.Stop()) })
	drifts := func(want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			metrics, err := watching.Scrape(t.Context(), controlPlane.Config)
			require.NoError(c, err)
			require.Regexp(c, `sallyport_webhook_drift_checks_total{result="same"} [1-9]`, metrics)
			var got []string
			for _, match := range regexp.MustCompile(`sallyport_webhook_drift{configuration="(\w+)",field="(\w+)"} 1`).FindAllStringSubmatch(metrics, -1) {
				got = append(got, match[1]+" "+match[2])
			}
			require.ElementsMatch(c, want, got)
		}, time.Minute, 500*time.Millisecond)
	}
	drifts()
	kubectl(t, "", "patch", "validatingwebhookconfiguration", "drifting", "--type=json", "-p", `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)
	kubectl(t, "", "delete", "validatingadmissionpolicybinding", "drifting")
	drifts("ValidatingWebhookConfiguration failurePolicy", "ValidatingAdmissionPolicyBinding object")
	kubectl(t, "", "apply", "--server-side", "--force-conflicts", "-f", file)
	drifts()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		events := kubectl(t, "", "get", "events", "-n", "default", "-o", `jsonpath={range .items[*]}{.type} {.reason} {.message}{"\n"}{end}`).stdout
		require.Contains(c, events, `Warning Drifted Not as it was installed: ValidatingWebhookConfiguration drifting: webhook validate.sallyport.dev: failurePolicy is "Ignore", should be "Fail"`)
		require.Contains(c, events, "Normal Restored As it was installed again: validate.sallyport.dev failurePolicy")
	}, time.Minute, 500*time.Millisecond)
}

// TestDoctorFinds: what is wrong is named, and decides the exit code.
func TestDoctorFinds(t *testing.T) {
	out, _, code := doctor(t, "--secret", "nothing", "--webhook-configuration", "nothing")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   there is no secret sallyport-system/nothing: no server has made it yet, or its mode is another")
	require.Contains(t, out, "Wrong:   there is no ValidatingWebhookConfiguration nothing")

	out, _, code = doctor(t, "--service", "sallyport-system/another")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "does not verify: x509: certificate is valid for sallyport.sallyport-system.svc, localhost, not another.sallyport-system.svc")

	_, stderr, code := doctor(t, "-o", "xml")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--output "xml": want text or json`)
}

// TestDoctorMaySeeNothing: who has no permission learns what is missing.
func TestDoctorMaySeeNothing(t *testing.T) {
	_, kubeconfig, err := controlPlane.User("nobody-at-all")
	require.NoError(t, err)
	out, stderr, code := doctor(t, "--kubeconfig", kubeconfig)
	require.Equal(t, 3, code, out+stderr)
	require.Contains(t, out, `Unknown: read secret sallyport-system/sallyport-certs: secrets "sallyport-certs" is forbidden: User "nobody-at-all" cannot get`)
	require.Contains(t, out, "Unknown: read ValidatingWebhookConfiguration sallyport: ")
	require.Contains(t, stderr, "not everything could be looked at, see above")
}

// TestDoctorAway: a cluster that does not answer is not a sick one.
func TestDoctorAway(t *testing.T) {
	out, stderr, code := doctor(t, "--kubeconfig", away(t))
	require.Equal(t, 4, code, out)
	require.Contains(t, stderr, "connection refused")
}
