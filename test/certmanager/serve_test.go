// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
	"github.com/sallyport-dev/sallyport/webhook/doctor"
)

// The binary asks cert-manager for its certificate, with no other permissions than
// the doctor says that it needs; the API server calls it, and the doctor finds it well.
func TestServe(t *testing.T) {
	folder, err := crds(t.Context())
	require.NoError(t, err)
	own := cluster.New(t, cluster.Options{CRDPaths: []string{folder}})
	startCertManager(t, own)
	grant(t, own)
	_, kubeconfig, err := own.User("system:serviceaccount:sallyport-system:sallyport")
	require.NoError(t, err)
	server, err := sallyport.Start(context.WithoutCancel(t.Context()), own, sallyport.Options{
		Kubeconfig: kubeconfig, Args: []string{"--cert-mode", "cert-manager"},
	})
	require.NoError(t, err, "it is asked by the API server")
	out, err := exec.CommandContext(t.Context(), filepath.Join(own.Dir, "sallyport"), "doctor", "--kubeconfig", own.Kubeconfig).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "Certificates (mode cert-manager)")
	require.Contains(t, string(out), "ValidatingWebhookConfiguration sallyport: trusts the certificate")
	require.NoError(t, server.Stop())
}

// grant gives the server's service account what doctor says that it needs.
func grant(t *testing.T, plane *cluster.Cluster) {
	t.Helper()
	client, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sallyport"}}
	for _, g := range doctor.Grants(certs.ModeCertManager, "sallyport", secretName) {
		role.Rules = append(role.Rules, g.Rule)
	}
	_, err = client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "sallyport-system", Name: "sallyport"}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}
