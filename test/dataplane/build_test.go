// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"testing"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/validation"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	rmesh "github.com/sallyport-dev/sallyport/rules/mesh"
)

var _ = []any{crd.ParseInputs, core.NewConfigGenTest, simulation.NewSimulationFromConfigGen, xds.NewFakeDiscoveryServer,
	xdstest.ValidateListeners, mesh.DefaultMeshConfig, validation.ValidateVirtualService, txtar.Parse, cmp.Diff, require.NoError,
	proto.Equal, yaml.Marshal, rules.All, manifest.Documents, rmesh.New, config.Config{}}

func TestBuild(t *testing.T) {}
