// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"strings"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// C11: certificates and CAs are renewed again and again, and no admission fails,
// whoever injects.
func TestRenewals(t *testing.T) {
	for name, byCAInjector := range map[string]bool{"our injector": false, "cainjector": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, plane)
			w.opts.CAInjector = byCAInjector
			startCertManager(t, plane)
			replicas := []*replica{w.start(t, plane.Config), w.start(t, plane.Config), w.start(t, plane.Config)}
			w.register(t, balance(t, replicas...))
			w.serve(t, replicas...)
			eventually(t, func(c *assert.CollectT) { assert.NoError(c, w.ask(t.Context())) })
			w.clock.step(dwell) // the first CA is known to all

			stop := w.load(t)
			for range 5 {
				w.renew(t, secretName)
				w.serve(t, replicas...)
				time.Sleep(time.Second) // of calls
			}
			const rotations = 3
			for n := range rotations {
				w.renew(t, caName)
				w.renew(t, secretName)
				eventually(t, func(c *assert.CollectT) {
					for _, r := range replicas {
						assert.Equal(c, n+1, strings.Count(r.log.String(), "Holding back new certificate"))
					}
				})
				eventually(t, func(c *assert.CollectT) { // cainjector injects when it likes
					assert.Len(c, w.bundle(t), n+2, "the old CAs stay")
				})
				for _, r := range replicas {
					require.Error(t, w.served(t.Context(), r), "callers need time to notice")
				}
				eventually(t, func(c *assert.CollectT) {
					w.clock.step(dwell) // again, should a replica have seen the CA after the last one
					for _, r := range replicas {
						assert.NoError(c, w.served(t.Context(), r))
					}
				})
				w.serve(t, replicas...)
				time.Sleep(time.Second)
			}
			stop()
			for _, r := range replicas {
				require.NotContains(t, r.log.String(), "the object has been modified", "that another was faster is no error")
			}
		})
	}
}

// bundle returns the CAs of the validating webhook, in DER.
func (w *world) bundle(t *testing.T) map[string]bool {
	t.Helper()
	configuration, err := w.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), w.namespace, metav1.GetOptions{})
	require.NoError(t, err)
	cas, err := pki.DecodeX509CertificateSetBytes(configuration.Webhooks[0].ClientConfig.CABundle)
	require.NoError(t, err)
	bundle := map[string]bool{}
	for _, ca := range cas {
		bundle[string(ca.Raw)] = true
	}
	return bundle
}
