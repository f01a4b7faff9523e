// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// While cert-manager is down, what it has issued is served, also by replicas that
// start then, and by one whose Secret is taken away. When it is back, it issues
// again, and nobody is restarted.
func TestCertManagerIsDown(t *testing.T) {
	w := newWorld(t, plane)
	early := w.start(t, plane.Config)
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, early.log.String(), "cert-manager has not seen it") })
	require.False(t, early.Healthy(), "it starts before cert-manager does")

	stop := startCertManager(t, plane)
	w.register(t, balance(t, early))
	w.serve(t, early)
	stop()
	late := w.start(t, plane.Config)
	w.serve(t, late)
	ended := w.load(t)
	served, err := late.GetCertificate(nil)
	require.NoError(t, err)
	secrets := w.client.CoreV1().Secrets(w.namespace)
	require.NoError(t, secrets.Delete(t.Context(), secretName, metav1.DeleteOptions{}))
	w.clock.step(dwell)
	eventually(t, func(c *assert.CollectT) {
		_, err := secrets.Get(t.Context(), secretName, metav1.GetOptions{})
		assert.True(c, apierrors.IsNotFound(err))
	})
	still, err := late.GetCertificate(nil)
	require.NoError(t, err)
	require.Same(t, served, still)
	require.True(t, late.Healthy())

	startCertManager(t, plane)
	w.serve(t, early, late)
	ended()
	still, err = late.GetCertificate(nil)
	require.NoError(t, err)
	require.NotSame(t, served, still, "it is issued again")
}
