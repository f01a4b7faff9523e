// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	cmscheme "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned/scheme"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	"github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	"github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	"github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"         // for Issuers
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned" // for Issuers
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	kubernetesscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// controllers are those of cert-manager that a CA and its certificates take.
var controllers = []string{
	approver.ControllerName, ca.CRControllerName, selfsigned.CRControllerName,
	issuing.ControllerName, keymanager.ControllerName, readiness.ControllerName, requestmanager.ControllerName,
	revisionmanager.ControllerName, trigger.ControllerName, issuers.ControllerName,
}

// crds returns the folder of cert-manager's CRDs.
func crds(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "deploy", "crds"), err
}

// startCertManager runs cert-manager's controllers and cainjector, until the
// test ends or stop is called.
func startCertManager(t *testing.T, plane *cluster.Cluster) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), logr.Discard()))
	var group sync.WaitGroup
	stop = func() { cancel(); group.Wait() }
	t.Cleanup(stop)
	runControllers(ctx, t, &group, plane)
	runCAInjector(ctx, t, &group, plane)
	return stop
}

func runControllers(ctx context.Context, t *testing.T, group *sync.WaitGroup, plane *cluster.Cluster) {
	t.Helper()
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{Kubeconfig: plane.Kubeconfig})
	require.NoError(t, err)
	for _, name := range controllers {
		c, err := controller.Known()[name](factory)
		require.NoError(t, err)
		group.Go(func() {
			if err := c.Run(2, ctx); ctx.Err() == nil {
				assert.NoError(t, err, name)
			}
		})
	}
	shared, err := factory.Build()
	require.NoError(t, err)
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
}

func runCAInjector(ctx context.Context, t *testing.T, group *sync.WaitGroup, plane *cluster.Cluster) {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, errors.Join(kubernetesscheme.AddToScheme(scheme), cmscheme.AddToScheme(scheme)))
	manager, err := ctrl.NewManager(util.RestConfigWithUserAgent(plane.Config, "cainjector"), ctrl.Options{
		Scheme: scheme, Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	require.NoError(t, err)
	require.NoError(t, cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
		EnableCertificatesDataSource: true,
		EnabledReconcilersFor: map[string]bool{
			cainjector.ValidatingWebhookConfigurationName: true, cainjector.MutatingWebhookConfigurationName: true,
		},
	}))
	group.Go(func() { assert.NoError(t, manager.Start(ctx)) })
}
