// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/helm"
	"github.com/sallyport-dev/sallyport/webhook/doctor"
	"github.com/sallyport-dev/sallyport/webhook/drift"
)

// everything switches on all that is off by default.
const everything = helm.Everything + ",namespace.create=true"

// forEachProfile runs the test for what the chart renders by each profile.
func forEachProfile(t *testing.T, test func(t *testing.T, profile string, objects []*unstructured.Unstructured)) {
	t.Helper()
	for _, profile := range helm.Profiles {
		t.Run(profile, func(t *testing.T) { test(t, profile, render(t, "--set=profile="+profile)) })
	}
}

// as converts an object of the chart, which must have no field that its type has not.
func as[T any](t *testing.T, all []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	typed := new(T)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(find(t, all, kind, name).Object, typed, true))
	return typed
}

// TestLint: Helm has nothing to say against the chart.
func TestLint(t *testing.T) {
	for _, profile := range helm.Profiles {
		_, err := helm.Run(t.Context(), "lint", "--strict", helm.Chart(), "--set=profile="+profile, everything)
		require.NoError(t, err)
	}
}

// TestPermissions (R22): in each mode the chart grants what the server needs and nothing
// else. That this is enough, and that all of it is used, is for package install to prove.
func TestPermissions(t *testing.T) {
	for mode, args := range map[certs.Mode]string{
		certs.ModeSelf:        "--set=certificates.mode=self",
		certs.ModeCertManager: "--set=certificates.mode=cert-manager",
		certs.ModeFiles:       "--set=certificates.mode=files,certificates.secretName=mine",
	} {
		t.Run(string(mode), func(t *testing.T) {
			chart := render(t, args)
			var inCluster, inNamespace []rbacv1.PolicyRule
			for _, g := range doctor.Grants(mode, "sallyport", "sallyport-certs") {
				if g.Namespaced {
					inNamespace = append(inNamespace, g.Rule)
				} else {
					inCluster = append(inCluster, g.Rule)
				}
			}
			require.ElementsMatch(t, each(inCluster), each(as[rbacv1.ClusterRole](t, chart, "ClusterRole", "sallyport").Rules))
			require.ElementsMatch(t, each(inNamespace), each(as[rbacv1.Role](t, chart, "Role", "sallyport").Rules))
		})
	}
}

// each takes rules apart: one verb on one resource, perhaps by one name.
func each(rules []rbacv1.PolicyRule) []string {
	var all []string
	for _, r := range rules {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				all = append(all, strings.Join([]string{verb, r.APIGroups[0], resource, strings.Join(r.ResourceNames, ",")}, " "))
			}
		}
	}
	return all
}

// TestWebhookRules (R14): the API server asks about the kinds that rules are on, and about
// nothing that a cluster needs to start.
func TestWebhookRules(t *testing.T) {
	var kinds []string
	for _, k := range analysis.Kinds() {
		if slices.ContainsFunc(rules.All, func(r *analysis.Rule) bool { return slices.Contains(r.Kinds(), k) }) {
			kinds = append(kinds, k.Group+"/"+k.Versions[0]+"/"+k.Resource)
		}
	}
	forEachProfile(t, func(t *testing.T, _ string, chart []*unstructured.Unstructured) {
		validating := as[admissionregistrationv1.ValidatingWebhookConfiguration](t, chart, "ValidatingWebhookConfiguration", "sallyport")
		require.Len(t, validating.Webhooks, 1)
		require.ElementsMatch(t, kinds, asked(t, validating.Webhooks[0].Rules))
		mutating := as[admissionregistrationv1.MutatingWebhookConfiguration](t, chart, "MutatingWebhookConfiguration", "sallyport")
		for i := range mutating.Webhooks {
			require.Subset(t, kinds, asked(t, mutating.Webhooks[i].Rules))
		}
		for _, kind := range kinds {
			group, _, _ := strings.Cut(kind, "/")
			require.Contains(t, []string{"networking.istio.io", "security.istio.io"}, group)
		}
	})
}

// asked returns what rules are about. Each must be about creating and updating alone.
func asked(t *testing.T, rules []admissionregistrationv1.RuleWithOperations) []string {
	t.Helper()
	var all []string
	for _, r := range rules {
		require.Equal(t, []admissionregistrationv1.OperationType{"CREATE", "UPDATE"}, r.Operations)
		require.Equal(t, admissionregistrationv1.NamespacedScope, *r.Scope)
		require.Len(t, r.APIGroups, 1)
		require.Len(t, r.APIVersions, 1)
		for _, resource := range r.Resources {
			all = append(all, r.APIGroups[0]+"/"+r.APIVersions[0]+"/"+resource)
		}
	}
	return all
}

// TestNamespaces (R5): namespaces are chosen by their name, which nobody can give to
// another, and never by a label that its owner may set.
func TestNamespaces(t *testing.T) {
	chart := render(t, "--set=webhooks.namespaces={shop,payments},webhooks.excludedNamespaces={kube-system}")
	const want = `{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"In","values":["shop","payments"]},` +
		`{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kube-system"]}]}`
	for _, kind := range []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		webhooks, _, err := unstructured.NestedSlice(find(t, chart, kind, "sallyport").Object, "webhooks")
		require.NoError(t, err)
		require.NotEmpty(t, webhooks)
		for _, w := range webhooks {
			selector, err := json.Marshal(w.(map[string]any)["namespaceSelector"])
			require.NoError(t, err)
			require.JSONEq(t, want, string(selector))
			require.Empty(t, w.(map[string]any)["objectSelector"])
		}
	}
	policy := as[admissionregistrationv1.ValidatingAdmissionPolicy](t, chart, "ValidatingAdmissionPolicy", "sallyport-break-glass-outage")
	require.Len(t, policy.Spec.MatchConstraints.NamespaceSelector.MatchExpressions, 2)
}

// TestConfigMap: the server reads the Configuration, and compares the webhook
// configurations with themselves.
func TestConfigMap(t *testing.T) {
	for _, args := range []string{everything, "--set=profile=trial,webhooks.mutating.enabled=false", "--set-json=mesh={\"istioVersion\":\"1.31\",\"clusterCIDRs\":[\"10.0.0.0/8\"]}"} {
		chart := render(t, args)
		data := as[corev1.ConfigMap](t, chart, "ConfigMap", "sallyport").Data
		_, err := config.Parse([]byte(data["config.yaml"]))
		require.NoError(t, err)
		want, err := drift.Parse([]byte(data["webhooks.yaml"]))
		require.NoError(t, err)
		is := &drift.Configurations{
			Policy:     as[admissionregistrationv1.ValidatingAdmissionPolicy](t, chart, "ValidatingAdmissionPolicy", "sallyport-break-glass-outage"),
			Binding:    as[admissionregistrationv1.ValidatingAdmissionPolicyBinding](t, chart, "ValidatingAdmissionPolicyBinding", "sallyport-break-glass-outage"),
			Validating: as[admissionregistrationv1.ValidatingWebhookConfiguration](t, chart, "ValidatingWebhookConfiguration", "sallyport"),
		}
		if want.Mutating != nil {
			is.Mutating = as[admissionregistrationv1.MutatingWebhookConfiguration](t, chart, "MutatingWebhookConfiguration", "sallyport")
		}
		require.Empty(t, drift.Compare(is, want))
		for i := range is.Validating.Webhooks {
			require.Empty(t, is.Validating.Webhooks[i].ClientConfig.CABundle, "the server owns it")
		}
	}
}

// TestMesh: what the chart makes for the platform is in the Configuration.
func TestMesh(t *testing.T) {
	parse := func(args string) *config.Configuration {
		conf, err := config.Parse([]byte(as[corev1.ConfigMap](t, render(t, args), "ConfigMap", "sallyport").Data["config.yaml"]))
		require.NoError(t, err)
		return conf
	}
	require.Equal(t, config.Default(), parse("--set=profile=standard"))
	conf := parse(everything)
	require.Len(t, conf.Mesh.EgressGateways, 1)
	gateway := conf.Mesh.EgressGateways[0]
	require.Equal(t, "istio-egress/egress", gateway.Gateway)
	require.Equal(t, "istio-egressgateway.istio-egress.svc.cluster.local", gateway.Service)
	require.Equal(t, []string{"istio-egress/waypoint"}, conf.Mesh.Waypoints)
	require.Equal(t, "istio-egressgateway.istio-egress.svc.example.org", parse(everything + ",mesh.clusterDomain=example.org").Mesh.EgressGateways[0].Service)
}

// TestPlatform: the gateway and the waypoint are those of deploy/platform, for which
// Istio's own control plane has shown what they do.
func TestPlatform(t *testing.T) {
	platform := func(file string) []*unstructured.Unstructured {
		data, err := os.ReadFile(filepath.Join(cluster.Root(), "deploy", "platform", file))
		require.NoError(t, err)
		return objects(t, data)
	}
	for args, want := range map[string][]*unstructured.Unstructured{
		"--set=egressGateway.create=true":                              platform("gateway.yaml"),
		"--set=egressGateway.create=true,egressGateway.mutualTLS=true": platform("gateway-mtls.yaml"),
		"--set=waypoint.create=true":                                   platform("waypoint.yaml"),
	} {
		chart := render(t, args)
		for _, object := range want {
			is := find(t, chart, object.GetKind(), object.GetName())
			require.Equal(t, object.Object["spec"], is.Object["spec"], args)
			require.Equal(t, object.GetNamespace(), is.GetNamespace())
			require.Subset(t, is.GetLabels(), object.GetLabels())
		}
	}
}

// TestPolicy: the default policy says what is built in, and by the profile trial nothing
// denies until its day.
func TestPolicy(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	effective := func(t *testing.T, args string) *policy.Policy {
		t.Helper()
		text, err := yaml.Marshal(find(t, render(t, args), "EgressPolicy", "default"))
		require.NoError(t, err)
		var documents policy.Documents
		require.NoError(t, documents.Parse("default.yaml", text))
		policyFor, err := documents.Compile()
		require.NoError(t, err)
		return policyFor("shop")
	}
	byDefault, builtin := effective(t, "--set=profile=standard"), policy.Default()
	require.Equal(t, builtin.Defaults, byDefault.Defaults)
	require.Equal(t, builtin.Limits, byDefault.Limits)
	require.Equal(t, builtin.ExistingViolations, byDefault.ExistingViolations)
	require.Equal(t, builtin.Unlisted, byDefault.Unlisted)
	require.Equal(t, builtin.OtherRules, byDefault.OtherRules)
	require.Equal(t, policy.ModeOff, byDefault.Gateway.Mode)
	require.Equal(t, policy.ModeOff, byDefault.Waypoint.Mode)
	require.Empty(t, byDefault.Rules)

	for _, r := range rules.All {
		action, _ := analysis.ActionOf(r, effective(t, "--set=profile=trial"), now)
		require.NotEqual(t, policy.Deny, action, r.Name)
	}
}

// TestAvailability (R11): a rollout and a drained node leave somebody to answer.
func TestAvailability(t *testing.T) {
	forEachProfile(t, func(t *testing.T, profile string, chart []*unstructured.Unstructured) {
		deployment := as[appsv1.Deployment](t, chart, "Deployment", "sallyport").Spec
		require.Equal(t, map[string]int32{"trial": 1, "standard": 2, "high-availability": 3}[profile], *deployment.Replicas)
		require.Equal(t, 0, deployment.Strategy.RollingUpdate.MaxUnavailable.IntValue())
		require.Equal(t, 1, deployment.Strategy.RollingUpdate.MaxSurge.IntValue())
		pod := deployment.Template.Spec
		var topology []string
		for _, c := range pod.TopologySpreadConstraints {
			topology = append(topology, c.TopologyKey)
			require.Equal(t, deployment.Selector.MatchLabels, c.LabelSelector.MatchLabels)
		}
		require.Equal(t, []string{corev1.LabelTopologyZone, corev1.LabelHostname}, topology)
		if profile != "trial" {
			require.Equal(t, "system-cluster-critical", pod.PriorityClassName)
			require.Equal(t, []string{pod.PriorityClassName}, as[corev1.ResourceQuota](t, chart, "ResourceQuota", "sallyport-critical-pods").Spec.ScopeSelector.MatchExpressions[0].Values)
		}
		budget := as[policyv1.PodDisruptionBudget](t, chart, "PodDisruptionBudget", "sallyport").Spec
		require.Equal(t, 1, budget.MaxUnavailable.IntValue())
		require.Equal(t, deployment.Selector, budget.Selector)

		// The pod has time for all that it does at its end.
		container := pod.Containers[0]
		require.NotNil(t, container.Lifecycle.PreStop.Sleep)
		require.Contains(t, container.Args, "--drain-delay=10s")
		const shutdown = 15 // of package webhook
		require.Greater(t, *pod.TerminationGracePeriodSeconds, container.Lifecycle.PreStop.Sleep.Seconds+10+shutdown)
		require.NotNil(t, container.ReadinessProbe)
		require.NotNil(t, container.LivenessProbe)
	})
}

// TestNetworkPolicy (R20): nobody reaches more than the webhook's port, and the metrics,
// which ask for a token.
func TestNetworkPolicy(t *testing.T) {
	ports := func(args string) (all []int) {
		spec := as[networkingv1.NetworkPolicy](t, render(t, args), "NetworkPolicy", "sallyport").Spec
		require.Equal(t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, spec.PolicyTypes)
		require.Equal(t, map[string]string{"app.kubernetes.io/name": "sallyport"}, spec.PodSelector.MatchLabels)
		for _, rule := range spec.Ingress {
			for _, port := range rule.Ports {
				all = append(all, port.Port.IntValue())
			}
		}
		return all
	}
	require.Equal(t, []int{9443, 8443}, ports("--set=profile=standard"))
	require.Equal(t, []int{9443}, ports("--set=metrics.enabled=false"))
}

// TestAlerts: the PrometheusRule holds the alerts that are tested elsewhere, whole.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(helm.Chart(), "files", "rules.yaml"))
	require.NoError(t, err)
	var want map[string]any
	require.NoError(t, yaml.Unmarshal(data, &want))
	chart := render(t, everything)
	require.Equal(t, want, find(t, chart, "PrometheusRule", "sallyport").Object["spec"])
	dashboard, err := os.ReadFile(filepath.Join(helm.Chart(), "files", "dashboard.json"))
	require.NoError(t, err)
	require.JSONEq(t, string(dashboard), as[corev1.ConfigMap](t, chart, "ConfigMap", "sallyport-dashboard").Data["sallyport.json"])
}

// TestOverlays: what kustomize makes is what the chart renders with the same values.
func TestOverlays(t *testing.T) {
	overlays := map[string][]string{"base": nil, "audit-only": overlays["audit-only"], "cert-manager": overlays["cert-manager"]}
	binaries, err := cluster.Binaries(t.Context(), os.Stderr)
	require.NoError(t, err)
	for name, args := range overlays {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "kubectl"), "kustomize", filepath.Join(cluster.Root(), "deploy", "kustomize", name)).Output()
			require.NoError(t, err)
			is, want := objects(t, out), render(t, append([]string{"--set=namespace.create=true"}, args...)...)
			require.Len(t, is, len(want))
			for _, object := range want {
				require.Equal(t, object.Object, find(t, is, object.GetKind(), object.GetName()).Object)
			}
		})
	}
}
