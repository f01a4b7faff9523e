// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func byName(name string) metav1.ListOptions {
	var options metav1.ListOptions
	only(name)(&options)
	return options
}

func bundlesOf(event watch.Event) []string {
	config, ok := event.Object.(*admissionregistrationv1.ValidatingWebhookConfiguration)
	if !ok {
		return nil
	}
	var bundles []string
	for _, w := range config.Webhooks {
		bundles = append(bundles, string(w.ClientConfig.CABundle))
	}
	return bundles
}

func (i *installation) validating(t *testing.T) *admissionregistrationv1.ValidatingWebhookConfiguration {
	t.Helper()
	config, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), i.namespace, metav1.GetOptions{})
	require.NoError(t, err)
	return config
}

// Nothing but the bundles changes, and nothing but them is owned.
func TestInjectionOwnsTheBundleOnly(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	before := i.validating(t)
	i.settle(t, i.startOne(t))
	after := i.validating(t)

	var managers []string
	for _, entry := range after.ManagedFields {
		managers = append(managers, entry.Manager)
		if entry.Manager == fieldManager {
			require.Equal(t, metav1.ManagedFieldsOperationApply, entry.Operation)
			const fields = `{".":{},"f:clientConfig":{"f:caBundle":{}},"f:name":{}}`
			require.JSONEq(t, `{"f:webhooks":{`+
				`"k:{\"name\":\"one.example.com\"}":`+fields+`,`+
				`"k:{\"name\":\"two.example.com\"}":`+fields+`}}`, entry.FieldsV1.GetRawString())
		}
	}
	require.ElementsMatch(t, []string{"chart", fieldManager}, managers)

	for n := range after.Webhooks {
		require.NotEmpty(t, after.Webhooks[n].ClientConfig.CABundle)
		after.Webhooks[n].ClientConfig.CABundle = nil
	}
	require.Equal(t, before.Webhooks, after.Webhooks)
}

func TestConfigurationIsCreatedLater(t *testing.T) {
	i := newInstallation(t)
	r := i.startOne(t)
	eventually(t, func(c *assert.CollectT) { assert.True(c, r.Healthy()) })
	require.Equal(t, []Target{
		{Kind: "ValidatingWebhookConfiguration", Name: i.namespace},
		{Kind: "MutatingWebhookConfiguration", Name: i.namespace},
	}, r.Targets())
	require.NotContains(t, r.log.String(), "Could not", "it is no error")

	i.configure(t)
	i.settle(t, r)

	// And again, as when a chart is removed and installed.
	api := i.client.AdmissionregistrationV1()
	require.NoError(t, api.ValidatingWebhookConfigurations().Delete(t.Context(), i.namespace, metav1.DeleteOptions{}))
	require.NoError(t, api.MutatingWebhookConfigurations().Delete(t.Context(), i.namespace, metav1.DeleteOptions{}))
	eventually(t, func(c *assert.CollectT) {
		for _, target := range r.Targets() {
			assert.False(c, target.Exists)
		}
	})
	i.configure(t)
	i.settle(t, r)
}

// C9, C10: what takes the bundle away or replaces it is undone.
func TestBundleIsPutBack(t *testing.T) {
	foreign := mustKeyring(t, []string{otherName}, someDay).bundle()
	tests := []struct {
		name   string
		change func(t *testing.T, i *installation)
	}{
		{"replaced without a bundle", func(t *testing.T, i *installation) {
			t.Helper()
			i.replace(t, func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = nil })
		}},
		{"replaced with another bundle", func(t *testing.T, i *installation) {
			t.Helper()
			i.replace(t, func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = foreign })
		}},
		{"another CA appended", func(t *testing.T, i *installation) {
			t.Helper()
			i.replace(t, func(c *admissionregistrationv1.WebhookClientConfig) {
				c.CABundle = append(bytes.Clone(c.CABundle), foreign...)
			})
		}},
		{"applied by force with another bundle", func(t *testing.T, i *installation) {
			t.Helper()
			target := validatingTarget(i.client, i.namespace)
			patch := `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingWebhookConfiguration","metadata":{"name":"` + target.name + `"},` +
				`"webhooks":[{"name":"one.example.com","clientConfig":{"caBundle":"Cg=="}}]}`
			_, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(t.Context(), i.namespace,
				types.ApplyPatchType, []byte(patch), metav1.PatchOptions{FieldManager: "argocd", Force: new(true)})
			require.NoError(t, err)
		}},
		{"a webhook added", func(t *testing.T, i *installation) {
			t.Helper()
			config := i.validating(t)
			added := *config.Webhooks[0].DeepCopy()
			added.Name, added.ClientConfig.CABundle = "three.example.com", nil
			config.Webhooks = append(config.Webhooks, added)
			_, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(t.Context(), config, metav1.UpdateOptions{})
			require.NoError(t, err)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstallation(t)
			i.configure(t)
			r := i.startOne(t)
			i.settle(t, r)
			before := i.validating(t)
			test.change(t, i)
			eventually(t, func(c *assert.CollectT) {
				config, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(t.Context(), i.namespace, metav1.GetOptions{})
				if assert.NoError(c, err) {
					assert.NotEqual(c, before.ResourceVersion, config.ResourceVersion)
				}
				assert.NoError(c, i.trusted(t.Context(), r))
			})
			i.settle(t, r)
			bundle, err := i.injected(t.Context())
			require.NoError(t, err)
			require.Equal(t, r.CABundle(), bundle)
		})
	}
}

// replace changes a configuration by a full update.
func (i *installation) replace(t *testing.T, change func(*admissionregistrationv1.WebhookClientConfig)) {
	t.Helper()
	config := i.validating(t)
	for n := range config.Webhooks {
		change(&config.Webhooks[n].ClientConfig)
	}
	_, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(t.Context(), config, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// A configuration that vanishes while the CA is injected is not created again.
func TestInjectionCreatesNothing(t *testing.T) {
	i := newInstallation(t)
	for _, target := range []*target{validatingTarget(i.client, i.namespace), mutatingTarget(i.client, i.namespace)} {
		err := target.apply(t.Context(), &configuration{uid: "0f0e0d0c-0000-4000-8000-000000000000"}, someBundle(t))
		require.ErrorContains(t, err, "uid mismatch")
		err = target.apply(t.Context(), &configuration{
			uid: "0f0e0d0c-0000-4000-8000-000000000000", webhooks: []webhook{{name: "one.example.com"}},
		}, someBundle(t))
		require.Error(t, err)
	}
}

func someBundle(t *testing.T) []byte {
	t.Helper()
	return mustKeyring(t, names, someDay).bundle()
}

// The permissions of the package documentation are enough, and a permission that
// comes late is noticed.
func TestPermissions(t *testing.T) {
	i := newInstallation(t)
	i.configure(t)
	user := i.user(t, onSecret(), []rbacv1.PolicyRule{i.onConfigurations("get", "list", "watch")})
	r := i.start(t, user, i.opts)
	eventually(t, func(c *assert.CollectT) {
		assert.Contains(c, r.log.String(), "forbidden")
		assert.Contains(c, r.log.String(), "inject the CA into ValidatingWebhookConfiguration")
		assert.Contains(c, r.log.String(), "inject the CA into MutatingWebhookConfiguration")
	})
	require.False(t, r.Healthy(), "the API server does not trust it")
	i.grant(t, []rbacv1.PolicyRule{i.onConfigurations("get", "list", "watch", "patch")})
	i.settle(t, r)
}
