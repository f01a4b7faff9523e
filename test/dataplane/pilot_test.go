// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/stretchr/testify/require"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/serviceregistry/kube"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xdstest"
	istioconfig "istio.io/istio/pkg/config"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// clusterDomain is that of all worlds.
const clusterDomain = "cluster.local"

// A meshNow is istiod with the objects of a world, without or with Sallyport.
type meshNow struct {
	t       *testing.T
	world   *world
	istiod  *core.ConfigGenTest
	proxies map[string]*proxy
}

// A proxy is a sidecar or gateway with what istiod sends it.
type proxy struct {
	*simulation.Simulation
	model    *model.Proxy
	clusters map[string]*cluster.Cluster
}

func newMesh(t *testing.T, w *world, objects []analysis.Object) *meshNow {
	t.Helper()
	configs, _, err := crd.ParseInputs(string(w.platform)) // knows no Services
	require.NoError(t, err)
	for i := range configs {
		configs[i].CreationTimestamp = now.AddDate(0, 0, -2)
	}
	for _, obj := range objects {
		if kind := analysis.KindOf(obj); kind != analysis.Namespace {
			configs = append(configs, configOf(t, obj))
		}
	}
	for i := range configs {
		configs[i].Domain = clusterDomain
	}
	var services []*model.Service
	for _, svc := range w.servicesOf(t) {
		services = append(services, kube.ConvertService(*svc, nil, clusterDomain, "Kubernetes", clusterDomain))
	}
	return &meshNow{
		t: t, world: w, proxies: map[string]*proxy{},
		istiod: core.NewConfigGenTest(t, core.TestOptions{Configs: configs, MeshConfig: w.mesh, Services: services}),
	}
}

// configOf converts an object to istiod's form, as it would be read from the API
// server, and lets istiod validate it.
func configOf(t *testing.T, obj analysis.Object) istioconfig.Config {
	t.Helper()
	configs, _, err := crd.ParseInputs(manifestOf(t, obj))
	require.NoError(t, err, nameOf(obj))
	require.Len(t, configs, 1)
	return configs[0]
}

func manifestOf(t *testing.T, obj analysis.Object) string {
	t.Helper()
	return manifestOfFields(t, obj, fieldsOf(t, obj))
}

// manifestOfFields returns fields as a manifest of the object's kind.
func manifestOfFields(t *testing.T, obj analysis.Object, fields map[string]any) string {
	t.Helper()
	kind := analysis.KindOf(obj)
	fields["apiVersion"], fields["kind"] = schema.GroupVersion{Group: kind.Group, Version: kind.Versions[0]}.String(), kind.Kind
	raw, err := json.Marshal(fields)
	require.NoError(t, err)
	return string(raw)
}

// fieldsOf returns an object as JSON.
func fieldsOf(t *testing.T, obj analysis.Object) map[string]any {
	t.Helper()
	raw, err := json.Marshal(obj)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	return fields
}

// sidecar returns the sidecar that makes a call.
func (m *meshNow) sidecar(c *call) *proxy {
	return m.proxy(c.client(), model.SidecarProxy, c.namespace, "10.1.0.1", c.labels)
}

// gateway returns the egress gateway.
func (m *meshNow) gateway() *proxy {
	return m.proxy("gateway", model.Router, "istio-egress", "10.1.0.2", m.world.config.Mesh.EgressGateways[0].Selector)
}

func (m *meshNow) proxy(id string, typ model.NodeType, namespace, ip string, labels map[string]string) *proxy {
	if p, ok := m.proxies[id]; ok {
		return p
	}
	p := &proxy{model: m.istiod.SetupProxy(&model.Proxy{
		ID: id, Type: typ, ConfigNamespace: namespace, IPAddresses: []string{ip}, Labels: labels,
		Metadata: &model.NodeMetadata{Namespace: namespace, Labels: labels, IstioVersion: "1.31.0"},
	})}
	p.Simulation = simulation.NewSimulationFromConfigGen(m.t, m.istiod, p.model)
	p.clusters = xdstest.ExtractClusters(p.Clusters)
	m.proxies[id] = p
	return p
}
