// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	istiotest "istio.io/istio/pkg/test"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// TestAmbient shows what a waypoint serves. The worlds are in testdata/ambient; in
// place of calls they have the sections without, with and perhaps today, which list
// the chains of filters for external hosts.
func TestAmbient(t *testing.T) {
	for _, feature := range []*bool{
		&features.EnableAmbient, &features.EnableAmbientWaypoints, &features.EnableHBONESend,
		&features.EnableSidecarHBONEListening, &features.EnableAmbientStatus,
	} {
		istiotest.SetForTest(t, feature, true)
	}
	files, err := filepath.Glob("testdata/ambient/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runAmbient(t, file) })
	}
}

func runAmbient(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	require.NoError(t, err)
	require.NotEmpty(t, bytes.TrimSpace(archive.Comment), "the comment says what the world shows")
	sections := map[string][]byte{"platform": []byte("waypoint.yaml")}
	for _, f := range archive.Files {
		sections[f.Name] = f.Data
	}
	addDefaults(t, sections, "testdata/ambient/default")
	w := newWorld(t, sections)
	t.Run("without", func(t *testing.T) {
		expectChains(t, lines(sections["without"]), w.waypoint(t, w.raw(t)))
	})
	t.Run("with", func(t *testing.T) {
		a := newAdmission(t, w)
		for _, doc := range documents(t, w.objects) {
			a.admit(t, doc)
		}
		a.checkVerdicts(t)
		a.checkAfter(t)
		for _, obj := range a.changed {
			require.NoError(t, complaint(t, obj), nameOf(obj))
		}
		got := w.waypoint(t, a.stored)
		if today, ok := sections["today"]; ok {
			require.NotEqual(t, lines(sections["with"]), got, "the chains are as they should be: remove the section today")
			sections["with"] = today
		}
		expectChains(t, lines(sections["with"]), got)
	})
}

func expectChains(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("chains, want (-) and got (+):\n%s", diff)
	}
}

// waypointPod stands for what Istio deploys for the platform's waypoint.
const waypointPod = `
apiVersion: v1
kind: Service
metadata:
  name: waypoint
  namespace: istio-egress
  labels: {gateway.networking.k8s.io/gateway-name: waypoint, gateway.istio.io/managed: istio.io-mesh-controller}
spec:
  clusterIP: 10.0.0.20
  ports: [{name: mesh, port: 15008, appProtocol: hbone}]
  selector: {gateway.networking.k8s.io/gateway-name: waypoint}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: waypoint, namespace: istio-egress}
spec:
  address: 10.1.0.20
  labels: {gateway.networking.k8s.io/gateway-name: waypoint}
`

// waypoint returns the chains of filters that istiod gives the platform's waypoint
// for hosts outside the mesh.
func (w *world) waypoint(t *testing.T, objects []analysis.Object) []string {
	t.Helper()
	parts := []string{waypointPod, w.deployedWaypoint(t)}
	for _, obj := range objects {
		parts = append(parts, manifestOf(t, obj))
	}
	all := strings.Join(parts, "\n---\n")
	istiod := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{ConfigString: all, KubernetesObjectString: all, MeshConfig: w.mesh})
	p := istiod.SetupProxy(&model.Proxy{
		Type: model.Waypoint, ConfigNamespace: "istio-egress", IPAddresses: []string{"10.1.0.20"},
		Labels: map[string]string{
			"gateway.networking.k8s.io/gateway-name": "waypoint", "gateway.istio.io/managed": "istio.io-mesh-controller",
		},
	})
	listeners := istiod.Listeners(p)
	for _, l := range listeners { // xdstest.ValidateListeners fails on internal ones
		require.NoError(t, l.ValidateAll())
	}
	xdstest.ValidateClusters(t, istiod.Clusters(p))
	var chains []string
	for _, chain := range xdstest.ExtractListener("main_internal", listeners).GetFilterChains() {
		if strings.Contains(chain.GetName(), "example") {
			chains = append(chains, describeChain(t, chain))
		}
	}
	slices.Sort(chains)
	return chains
}

// deployedWaypoint returns the platform's manifests with the Gateway as it is once
// Istio has deployed it.
func (w *world) deployedWaypoint(t *testing.T) string {
	t.Helper()
	var gateway map[string]any
	require.NoError(t, yaml.Unmarshal(w.platform, &gateway))
	gateway["status"] = map[string]any{
		"addresses": []map[string]any{{"type": "Hostname", "value": "waypoint.istio-egress.svc.cluster.local"}},
	}
	text, err := yaml.Marshal(gateway)
	require.NoError(t, err)
	return string(text)
}

// describeChain says what a chain does that is not the same for all.
func describeChain(t *testing.T, chain *listener.FilterChain) string {
	t.Helper()
	var details []string
	network, http := xdstest.ExtractFilterNames(t, chain)
	for _, name := range slices.Concat(network, http) {
		if strings.HasSuffix(name, "dynamic_forward_proxy") {
			details = append(details, "DNS")
		}
	}
	details = append(details, policiesOf(t, chain)...)
	manager := xdstest.ExtractHTTPConnectionManager(t, chain)
	for _, vh := range manager.GetRouteConfig().GetVirtualHosts() {
		for _, r := range vh.GetRoutes() {
			h := hop{t: t, route: r}
			details = append(details, h.details()...)
		}
	}
	return strings.TrimSpace(chain.GetName() + " " + strings.Join(details, ", "))
}

// policiesOf returns the AuthorizationPolicies that a chain enforces.
func policiesOf(t *testing.T, chain *listener.FilterChain) []string {
	t.Helper()
	names := map[string]bool{}
	for _, rules := range rulesOf(t, chain) {
		for name := range rules.GetPolicies() {
			names[strings.TrimSuffix(name, "-rule[0]")] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
