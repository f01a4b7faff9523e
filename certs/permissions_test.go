// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// user returns the configuration of a service account with the rules in its
// namespace and those in the cluster.
func (i *installation) user(t *testing.T, inNamespace, inCluster []rbacv1.PolicyRule) *rest.Config {
	t.Helper()
	name := "system:serviceaccount:" + i.namespace + ":sallyport"
	config, _, err := i.plane.User(name)
	require.NoError(t, err)
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: name}}
	rbac := i.client.RbacV1()
	meta := metav1.ObjectMeta{Name: i.namespace}
	i.grantInNamespace(t, inNamespace)
	_, err = rbac.RoleBindings(i.namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: i.namespace},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: i.namespace},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	i.grant(t, inCluster)
	return config
}

// asServer returns the configuration of a service account that may do what the package
// documentation says, and nothing else. It is the same each time.
func (i *installation) asServer(t *testing.T) *rest.Config {
	t.Helper()
	if i.account != nil {
		return i.account
	}
	inCluster := i.onConfigurations("get", "list", "watch", "patch")
	i.account = i.user(t, onSecret(), []rbacv1.PolicyRule{inCluster})
	client := clientFor(t, i.account)
	eventually(t, func(c *assert.CollectT) { // the API server learns of permissions after a moment
		for _, of := range []authorizationv1.ResourceAttributes{
			{Namespace: i.namespace, Verb: "update", Resource: "secrets", Name: secretName},
			{Group: admissionregistrationv1.GroupName, Verb: "patch", Resource: inCluster.Resources[0], Name: i.namespace},
		} {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &of}}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			if assert.NoError(c, err) {
				assert.True(c, answer.Status.Allowed, of)
			}
		}
	})
	return i.account
}

// grant replaces what the service account may do in the cluster.
func (i *installation) grant(t *testing.T, rules []rbacv1.PolicyRule) {
	t.Helper()
	roles := i.client.RbacV1().ClusterRoles()
	_ = roles.Delete(t.Context(), i.namespace, metav1.DeleteOptions{}) // if there is one
	_, err := roles.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: i.namespace}, Rules: rules}, metav1.CreateOptions{})
	require.NoError(t, err)
}

func (i *installation) onConfigurations(verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: []string{admissionregistrationv1.GroupName},
		Resources: []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, ResourceNames: []string{i.namespace}, Verbs: verbs,
	}
}

// grantInNamespace replaces what the service account may do in its namespace.
func (i *installation) grantInNamespace(t *testing.T, rules []rbacv1.PolicyRule) {
	t.Helper()
	roles := i.client.RbacV1().Roles(i.namespace)
	_ = roles.Delete(t.Context(), i.namespace, metav1.DeleteOptions{}) // if there is one
	_, err := roles.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: i.namespace}, Rules: rules}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// onSecret are the permissions that mode self needs in its namespace.
func onSecret() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secretName}, Verbs: []string{"get", "list", "watch", "update"}},
	}
}
