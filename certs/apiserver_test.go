// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const verdict = "the webhook was asked"

// deny serves a webhook that denies everything, with a handshake for each call.
func deny(t *testing.T, certificate certificateFunc) *httptest.Server {
	t.Helper()
	server := unstarted(certificate)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

type certificateFunc = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

func unstarted(certificate certificateFunc) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Result: &metav1.Status{Message: verdict}}
		_ = json.NewEncoder(w).Encode(review)
	}))
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: certificate, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true,
	}
	server.Config.SetKeepAlivesEnabled(false)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

// register makes the API server ask the webhook about ConfigMaps, by the name
// localhost.
func (i *installation) register(t *testing.T, server *httptest.Server, bundle []byte) {
	t.Helper()
	port := server.URL[len("https://127.0.0.1:"):]
	_, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(),
		&admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: i.namespace},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name:                    "deny.example.com",
				ClientConfig:            admissionregistrationv1.WebhookClientConfig{URL: new("https://localhost:" + port), CABundle: bundle},
				NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: i.namespace}},
				AdmissionReviewVersions: []string{"v1"},
				SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
				Rules: []admissionregistrationv1.RuleWithOperations{{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				}},
			}},
		}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// ask makes the API server call the webhook, and returns what it says.
func (i *installation) ask(ctx context.Context) error {
	_, err := i.client.CoreV1().ConfigMaps(i.namespace).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "asked-"}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// asked waits until the API server calls the webhook with success.
func (i *installation) asked(t *testing.T) {
	t.Helper()
	eventually(t, func(c *assert.CollectT) { assert.ErrorContains(c, i.ask(t.Context()), verdict) })
}

// The real API server trusts what is injected, and leaves are renewed under its
// calls without a failed one.
func TestAPIServerCalls(t *testing.T) {
	i := newInstallation(t)
	i.opts.DNSNames = append(i.opts.DNSNames, "localhost")
	i.opts.MutatingConfiguration = ""
	r := i.startOne(t)
	i.register(t, deny(t, r.GetCertificate), nil)
	i.asked(t)

	var stop atomic.Bool
	var group sync.WaitGroup
	var calls, failed int
	group.Go(func() {
		for !stop.Load() {
			calls++
			if err := i.ask(t.Context()); !assert.ErrorContains(t, err, verdict) {
				failed++
			}
		}
	})
	const renewals = 10
	serials := map[string]bool{}
	for range renewals {
		serials[i.renewLeaf(t, r)] = true
	}
	stop.Store(true)
	group.Wait()
	t.Logf("%d calls", calls)
	require.Zero(t, failed)
	require.Greater(t, calls, 2*renewals)
	require.Len(t, serials, renewals)
}

// renewLeaf makes the replica renew its leaf and returns the serial of the new.
func (i *installation) renewLeaf(t *testing.T, r *replica) string {
	t.Helper()
	before, err := r.GetCertificate(nil)
	require.NoError(t, err)
	i.update(t, func(s *corev1.Secret) {
		now := time.Now()
		ca, err := keyring(s.Data).ca(now)
		require.NoError(t, err)
		s.Data, err = keyring(s.Data).withLeaf(ca, newProfile(i.opts.DNSNames), now.Add(-61*day), bundled(t, s.Data[caCert]))
		require.NoError(t, err)
	})
	var serial string
	eventually(t, func(c *assert.CollectT) {
		after, err := r.GetCertificate(nil)
		if assert.NoError(c, err) && assert.True(c, after.Leaf.NotAfter.After(time.Now().Add(89*day))) {
			serial = after.Leaf.SerialNumber.String()
			assert.NotEqual(c, before.Leaf.SerialNumber.String(), serial)
		}
	})
	return serial
}
