// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
)

// Whatever keeps a replica from its work is counted and told, the last good
// certificate is served meanwhile, and when it has passed nobody restarts anything.
func TestTroublePasses(t *testing.T) {
	deleteSecret := func(t *testing.T, i *installation) {
		t.Helper()
		require.NoError(t, i.client.CoreV1().Secrets(i.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
	}
	all := func(i *installation) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{i.onConfigurations("get", "list", "watch", "patch")}
	}
	for reason, trouble := range map[string]struct {
		begin, end func(t *testing.T, i *installation, g *gate)
		event      string
	}{
		"forbidden": {
			begin: func(t *testing.T, i *installation, _ *gate) {
				t.Helper()
				i.grantInNamespace(t, nil)
				deleteSecret(t, i)
			},
			end: func(t *testing.T, i *installation, _ *gate) {
				t.Helper()
				i.grantInNamespace(t, onSecret())
			},
			event: "is forbidden: User",
		},
		"unreachable": {
			begin: func(t *testing.T, i *installation, g *gate) {
				t.Helper()
				g.set(func(*http.Request) error { return errors.New("the API server is away") })
				deleteSecret(t, i)
			},
			end:   func(_ *testing.T, _ *installation, g *gate) { g.set(nil) },
			event: "the API server is away",
		},
		"foreign_secret": {
			begin: func(t *testing.T, i *installation, _ *gate) {
				t.Helper()
				i.update(t, func(s *corev1.Secret) { s.Labels, s.Data["password"] = nil, []byte("theirs") })
			},
			end: func(t *testing.T, i *installation, _ *gate) {
				t.Helper()
				require.Equal(t, "theirs", string(i.secret(t).Data["password"]), "it is left as it is")
				deleteSecret(t, i)
			},
			event: "it is somebody else's: remove it, or use another name",
		},
	} {
		t.Run(reason, func(t *testing.T) {
			i, g, events := newInstallation(t), new(gate), record.NewFakeRecorder(100)
			i.opts.Events = events
			i.configure(t)
			r := i.start(t, g.through(i.user(t, onSecret(), all(i))), i.opts)
			i.settle(t, r)
			before, err := r.GetCertificate(nil)
			require.NoError(t, err)

			trouble.begin(t, i, g)
			eventually(t, func(c *assert.CollectT) {
				assert.NotZero(c, testutil.ToFloat64(r.metrics.errors.WithLabelValues(reason)))
			})
			require.Contains(t, nextWarning(t, events), trouble.event)
			after, err := r.GetCertificate(nil)
			require.NoError(t, err)
			require.Same(t, before, after)
			require.NoError(t, i.trusted(t.Context(), r))

			trouble.end(t, i, g)
			eventually(t, func(c *assert.CollectT) {
				after, err := r.GetCertificate(nil)
				assert.NoError(c, err)
				assert.NotSame(c, before, after, "the Secret is made anew")
			})
			i.settle(t, r)
		})
	}
}

// nextWarning waits for the next event that is one.
func nextWarning(t *testing.T, events *record.FakeRecorder) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-events.Events:
			if strings.HasPrefix(e, corev1.EventTypeWarning) {
				return e
			}
		case <-timeout:
			require.Fail(t, "there is no warning")
		}
	}
}
