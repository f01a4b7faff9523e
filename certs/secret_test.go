// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// history collects, until the test ends, every CA that an object has had.
type history struct {
	mu  sync.Mutex
	cas map[string]bool
}

func (h *history) follow(t *testing.T, w watch.Interface, err error, ca func(watch.Event) []string) {
	t.Helper()
	require.NoError(t, err)
	var group sync.WaitGroup
	group.Go(func() {
		for event := range w.ResultChan() {
			h.mu.Lock()
			for _, bundle := range ca(event) {
				h.cas[bundle] = true
			}
			h.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		w.Stop()
		group.Wait()
	})
}

func (h *history) distinct() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.cas))
}

// C1, C5 and C7: replicas that start together on an empty API agree on one CA,
// no other one ever shows, and each of them is trusted.
func TestReplicasRace(t *testing.T) {
	for range 5 {
		i := newInstallation(t)
		secrets := &history{cas: map[string]bool{}}
		w, err := i.client.CoreV1().Secrets(i.namespace).Watch(t.Context(), metav1.ListOptions{})
		secrets.follow(t, w, err, func(event watch.Event) []string {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				return []string{string(secret.Data[caCert])}
			}
			return nil // the watch ends
		})
		i.configure(t)
		bundles := &history{cas: map[string]bool{}}
		w, err = i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Watch(t.Context(), byName(i.namespace))
		bundles.follow(t, w, err, bundlesOf)

		var replicas []*replica
		for range 5 {
			replicas = append(replicas, i.startOne(t))
		}
		i.settle(t, replicas...)

		require.Len(t, secrets.distinct(), 1)
		require.Subset(t, append(secrets.distinct(), ""), bundles.distinct())
		secret := i.secret(t)
		require.Len(t, bundled(t, secret.Data[caCert]), 1)
		require.Equal(t, corev1.SecretTypeTLS, secret.Type)
		require.Equal(t, string(phaseSteady), secret.Annotations[phaseAnnotation])
		created := 0
		for _, r := range replicas {
			require.Equal(t, secret.Data[caCert], r.CABundle())
			created += strings.Count(r.log.String(), "Created CA")
			require.NotContains(t, r.log.String(), "Could not")
		}
		require.Equal(t, 1, created)
	}
}

// A writer that is faster wins, at every moment: what it has written stays.
func TestRivalIsFaster(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name   string
		method string // the replica's write that comes too late
		before func(t *testing.T, i *installation)
		rival  func(t *testing.T, i *installation, keys keyring)
	}{
		{
			"nothing there", http.MethodPost, func(*testing.T, *installation) {},
			func(t *testing.T, i *installation, keys keyring) { i.put(t, keys) },
		},
		{
			"a leaf to renew", http.MethodPut,
			func(t *testing.T, i *installation) { i.put(t, mustKeyring(t, i.opts.DNSNames, now.Add(-61*day))) },
			func(t *testing.T, i *installation, keys keyring) {
				i.update(t, func(s *corev1.Secret) { s.Data = keys })
			},
		},
		{
			"replaced", http.MethodPut,
			func(t *testing.T, i *installation) { i.put(t, keyring{leafCert: nil, leafKey: nil}) },
			func(t *testing.T, i *installation, keys keyring) {
				require.NoError(t, i.client.CoreV1().Secrets(i.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
				i.put(t, keys)
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			test.before(t, i)
			rival := mustKeyring(t, i.opts.DNSNames, now)
			var once sync.Once
			g := new(gate)
			g.set(func(req *http.Request) error {
				if req.Method == test.method && strings.Contains(req.URL.Path, "/secrets") {
					once.Do(func() { test.rival(t, i, rival) })
				}
				return nil
			})
			r := i.start(t, g.through(i.asServer(t)), i.opts)
			i.settle(t, r)
			require.Equal(t, rival, keyring(i.secret(t).Data))
			require.Equal(t, rival.bundle(), r.CABundle())
			require.NotContains(t, r.log.String(), "Could not")
		})
	}
}

// A replica that comes later takes over what is there, and one that comes back
// serves the same.
func TestReplicaComesLater(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	first := i.startOne(t)
	i.settle(t, first)
	before := i.secret(t)
	first.stop()

	i.settle(t, i.startOne(t), i.startOne(t))
	require.Equal(t, before, i.secret(t))
}

func TestRenewedLeafReachesAllReplicas(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	now := time.Now()
	old := mustKeyring(t, i.opts.DNSNames, now.Add(-61*day))
	i.put(t, old)
	replicas := []*replica{i.startOne(t), i.startOne(t), i.startOne(t)}
	eventually(t, func(c *assert.CollectT) {
		for _, r := range replicas {
			cert, err := r.GetCertificate(nil)
			if assert.NoError(c, err) {
				assert.True(c, cert.Leaf.NotAfter.After(now.Add(89*day)))
			}
		}
	})
	i.settle(t, replicas...)
	secret := i.secret(t)
	require.Equal(t, old[caCert], secret.Data[caCert], "the CA is kept")
	require.Equal(t, old[caKey], secret.Data[caKey])
}

// A configuration that does not exist holds nothing up.
func TestLeafIsRenewedWithoutConfigurations(t *testing.T) {
	i := newInstallation(t)
	r := i.startOne(t)
	eventually(t, func(c *assert.CollectT) { assert.True(c, r.Healthy()) })
	i.renewLeaf(t, r)
}

// Whatever the Secret holds when a replica starts, or gets while it runs, it
// ends with a valid certificate, and the one served is never a bad one.
func TestSecretIsRepaired(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name    string
		damage  func(t *testing.T, names []string, k keyring) keyring
		keepsCA bool
		// takesOver says that another CA is there, which signs from then on.
		takesOver bool
	}{
		{"empty", func(*testing.T, []string, keyring) keyring { return keyring{leafCert: nil, leafKey: nil} }, false, false},
		{"garbage", func(*testing.T, []string, keyring) keyring {
			return keyring{caCert: []byte("a"), caKey: []byte("b"), leafCert: []byte("c"), leafKey: []byte("d")}
		}, false, false},
		{"leaf cut off", func(_ *testing.T, _ []string, k keyring) keyring {
			return k.with(keyring{leafCert: k[leafCert][:200]})
		}, true, false},
		{"CA key lost", func(_ *testing.T, _ []string, k keyring) keyring {
			return keyring{caCert: k[caCert], leafCert: k[leafCert], leafKey: k[leafKey]}
		}, false, false},
		{"leaf expired", func(t *testing.T, names []string, _ keyring) keyring {
			return mustKeyring(t, names, now.Add(-91*day))
		}, false, true},
		{"CA expired", func(t *testing.T, names []string, _ keyring) keyring {
			return mustKeyring(t, names, now.Add(-731*day))
		}, false, false},
		{"for another name", func(t *testing.T, _ []string, _ keyring) keyring {
			return mustKeyring(t, []string{otherName}, now)
		}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name+" before the start", func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			good := mustKeyring(t, i.opts.DNSNames, now)
			i.put(t, test.damage(t, i.opts.DNSNames, good))
			i.settle(t, i.startOne(t), i.startOne(t))
			if test.keepsCA {
				require.Equal(t, good[caKey], i.secret(t).Data[caKey])
			}
		})
		t.Run(test.name+" while running", func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			r := i.startOne(t)
			i.settle(t, r)
			before := keyring(i.secret(t).Data)
			damaged := i.update(t, func(s *corev1.Secret) { s.Data = test.damage(t, i.opts.DNSNames, before) })
			eventually(t, func(c *assert.CollectT) {
				assert.True(c, r.Healthy())
				secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
				assert.NoError(c, err)
				assert.NotEqual(c, damaged.ResourceVersion, secret.ResourceVersion)
			})
			i.settle(t, r)
			after := keyring(i.secret(t).Data)
			require.True(t, after.verifiable(i.opts.DNSNames, time.Now()))
			require.Equal(t, test.keepsCA, string(before[caKey]) == string(after[caKey]))
			require.Equal(t, !test.takesOver, strings.Contains(string(after[caCert]), string(before[caCert])), "what is served goes on being trusted")
		})
	}
}

// Another's Secret is never written, whatever is in it, and the way out needs no
// restart.
func TestForeignSecret(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	foreign, err := i.client.CoreV1().Secrets(i.namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: secretName},
		Data:       mustKeyring(t, i.opts.DNSNames, time.Now()),
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	r := i.startOne(t)
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, r.log.String(), "is somebody else's")
		assert.GreaterOrEqual(c, strings.Count(r.log.String(), "Could not"), 3, "it goes on trying")
	})
	require.Equal(t, foreign, i.secret(t))
	require.False(t, r.Healthy())
	_, err = i.injected(t.Context())
	require.Error(t, err)

	require.NoError(t, i.client.CoreV1().Secrets(i.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
	i.settle(t, r)
}

// A Secret that is taken over by somebody else leaves the last good certificate.
func TestSecretBecomesForeign(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	r := i.startOne(t)
	i.settle(t, r)
	before, err := r.GetCertificate(nil)
	require.NoError(t, err)
	foreign := i.update(t, func(s *corev1.Secret) {
		s.Labels = nil
		s.Data = mustKeyring(t, i.opts.DNSNames, time.Now())
	})
	eventually(t, func(c *assert.CollectT) { assert.Contains(c, r.log.String(), "is somebody else's") })
	after, err := r.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, before.Leaf, after.Leaf)
	require.NoError(t, i.trusted(t.Context(), r))
	require.Equal(t, foreign, i.secret(t))
}

func TestSecretIsDeleted(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	replicas := []*replica{i.startOne(t), i.startOne(t), i.startOne(t)}
	i.settle(t, replicas...)
	before := i.secret(t)
	require.NoError(t, i.client.CoreV1().Secrets(i.namespace).Delete(t.Context(), secretName, metav1.DeleteOptions{}))
	eventually(t, func(c *assert.CollectT) {
		secret, err := i.client.CoreV1().Secrets(i.namespace).Get(t.Context(), secretName, metav1.GetOptions{})
		if assert.NoError(c, err) {
			assert.NotEqual(c, before.UID, secret.UID)
		}
	})
	i.settle(t, replicas...)
	after := i.secret(t)
	require.NotEqual(t, before.Data[caKey], after.Data[caKey])
	require.Len(t, bundled(t, after.Data[caCert]), 1, "a CA that was taken away is not trusted any more")
	require.Equal(t, after.Data[caCert], replicas[0].CABundle())
}

// What others put into the Secret besides is theirs.
func TestSecretKeepsOtherData(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	keys := mustKeyring(t, i.opts.DNSNames, time.Now().Add(-70*day))
	i.put(t, keys.with(keyring{"note": []byte("by an operator")}))
	i.update(t, func(s *corev1.Secret) {
		s.Annotations = map[string]string{phaseAnnotation: "retire", "example.com/note": "x"}
	})
	i.settle(t, i.startOne(t))
	secret := i.secret(t)
	require.NotEqual(t, keys[leafCert], secret.Data[leafCert])
	require.Equal(t, "by an operator", string(secret.Data["note"]))
	require.Equal(t, "x", secret.Annotations["example.com/note"])
}

// Replicas that want different names do not fight.
func TestReplicasWithOtherNames(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	old := i.startOne(t)
	i.settle(t, old)
	opts := i.opts
	opts.DNSNames = []string{otherName}
	other := i.start(t, i.asServer(t), opts)
	eventually(t, func(c *assert.CollectT) {
		bundle, err := i.injected(t.Context())
		assert.NoError(c, err)
		for _, r := range []*replica{old, other} {
			for _, name := range []string{i.serverName(), otherName} {
				err = handshake(t.Context(), r, bundle, name, time.Now())
				assert.NoError(c, err)
			}
		}
	})
	require.Equal(t, 1, strings.Count(old.log.String()+other.log.String(), "Renewed certificate")+
		strings.Count(other.log.String(), "Created CA"))
}
