// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook/doctor"
)

// The permissions that doctor asks for, which are the chart's, are enough.
func TestPermissions(t *testing.T) {
	startCertManager(t, plane)
	for name, byCAInjector := range map[string]bool{"our injector": false, "cainjector": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, plane)
			w.opts.CAInjector = byCAInjector
			var inNamespace, inCluster []rbacv1.PolicyRule
			for _, g := range doctor.Grants(certs.ModeCertManager, w.namespace, secretName) {
				if g.Namespaced {
					inNamespace = append(inNamespace, g.Rule)
				} else {
					inCluster = append(inCluster, g.Rule)
				}
			}
			r := w.startAs(t, inNamespace, inCluster)
			w.register(t, balance(t, r))
			w.serve(t, r)
			eventually(t, func(c *assert.CollectT) { assert.NoError(c, w.ask(t.Context())) })
			require.NotContains(t, r.log.String(), "forbidden")
		})
	}
}

// startAs starts a replica as a service account with the rules in its namespace and
// those in the cluster.
func (w *world) startAs(t *testing.T, inNamespace, inCluster []rbacv1.PolicyRule) *replica {
	t.Helper()
	name := "system:serviceaccount:" + w.namespace + ":sallyport"
	config, _, err := w.plane.User(name)
	require.NoError(t, err)
	rbac, meta := w.client.RbacV1(), metav1.ObjectMeta{Name: w.namespace}
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: name}}
	_, err = rbac.Roles(w.namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: inNamespace}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.RoleBindings(w.namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: w.namespace},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: inCluster}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: w.namespace},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return w.start(t, config)
}
