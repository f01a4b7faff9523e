// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	cmapiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	cmclient "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/test/cluster"
)

// plane is the control plane with cert-manager's CRDs that the tests share.
var plane *cluster.Cluster

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	folder, err := crds(ctx)
	if err != nil {
		return 1, err
	}
	if plane, err = cluster.Start(ctx, cluster.Options{CRDPaths: []string{folder}}); err != nil {
		return 1, err
	}
	code = m.Run()
	return code, plane.Stop()
}

const (
	secretName = "sallyport-certs"
	caName     = secretName + "-ca"
	rootName   = secretName + "-selfsigned"
)

// A world is a namespace, and a name for webhook configurations, which no other
// test uses.
type world struct {
	plane       *cluster.Cluster
	client      kubernetes.Interface
	certManager cmclient.Interface
	namespace   string
	opts        certs.CertManagerOptions
	clock       *hastyClock
}

func newWorld(t *testing.T, plane *cluster.Cluster) *world {
	t.Helper()
	unlimited := rest.CopyConfig(plane.Config)
	unlimited.QPS = -1
	w := &world{plane: plane, clock: new(hastyClock)}
	w.client, w.certManager = clients(t, unlimited)
	ns, err := w.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "certs-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	w.namespace = ns.Name
	w.opts = certs.CertManagerOptions{
		Options:   certs.Options{DNSNames: []string{"sallyport." + ns.Name + ".svc", "localhost"}, Clock: w.clock},
		Namespace: ns.Name, Secret: secretName, ValidatingConfiguration: ns.Name, MutatingConfiguration: ns.Name,
	}
	t.Cleanup(func() { // they would be asked in other tests
		ctx, api := context.WithoutCancel(t.Context()), w.client.AdmissionregistrationV1()
		_ = api.ValidatingWebhookConfigurations().Delete(ctx, w.namespace, metav1.DeleteOptions{})
		_ = api.MutatingWebhookConfigurations().Delete(ctx, w.namespace, metav1.DeleteOptions{})
	})
	return w
}

func clients(t *testing.T, config *rest.Config) (kubernetes.Interface, cmclient.Interface) {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	certManager, err := cmclient.NewForConfig(config)
	require.NoError(t, err)
	return client, certManager
}

// A hastyClock is ahead of the system's, and ticks ten times a second.
type hastyClock struct {
	clock.RealClock
	ahead atomic.Int64
}

// Now implements [clock.Clock].
func (c *hastyClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// NewTicker implements [clock.WithTicker].
func (c *hastyClock) NewTicker(time.Duration) clock.Ticker {
	return c.RealClock.NewTicker(100 * time.Millisecond)
}

// dwell is longer than callers may take to notice a new CA.
const dwell = 16 * time.Minute

func (c *hastyClock) step(d time.Duration) { c.ahead.Add(int64(d)) }

// How long the API server and cert-manager may take to see and do something.
const patience, pause = time.Minute, 50 * time.Millisecond

func eventually(t *testing.T, condition func(c *assert.CollectT)) {
	t.Helper()
	require.EventuallyWithT(t, condition, patience, pause)
}

// renew makes cert-manager issue the certificate again, as "cmctl renew" does,
// and waits until it has.
func (w *world) renew(t *testing.T, name string) {
	t.Helper()
	certificates := w.certManager.CertmanagerV1().Certificates(w.namespace)
	var before int
	eventually(t, func(c *assert.CollectT) {
		certificate, err := certificates.Get(t.Context(), name, metav1.GetOptions{})
		if assert.NoError(c, err) && assert.NotNil(c, certificate.Status.Revision) {
			before = *certificate.Status.Revision
			cmapiutil.SetCertificateCondition(certificate, certificate.Generation, cmapi.CertificateConditionIssuing, cmmeta.ConditionTrue, "Test", "renew")
			_, err = certificates.UpdateStatus(t.Context(), certificate, metav1.UpdateOptions{})
			assert.NoError(c, err)
		}
	})
	eventually(t, func(c *assert.CollectT) {
		certificate, err := certificates.Get(t.Context(), name, metav1.GetOptions{})
		assert.NoError(c, err)
		assert.Greater(c, *certificate.Status.Revision, before)
		assert.True(c, cmapiutil.CertificateHasCondition(certificate, cmapi.CertificateCondition{
			Type: cmapi.CertificateConditionReady, Status: cmmeta.ConditionTrue,
		}))
	})
}
