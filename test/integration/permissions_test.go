// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
	examined "github.com/sallyport-dev/sallyport/webhook/doctor"
)

// TestPermissions (R22): with what doctor says that the server needs, it does all it
// has to, and is refused nothing.
func TestPermissions(t *testing.T) {
	plane := cluster.New(t, cluster.Options{})
	require.NoError(t, sallyport.CreateNamespace(t.Context(), plane.Config))
	const user = "system:serviceaccount:sallyport-system:sallyport"
	bind(t, plane, user)
	_, kubeconfig, err := plane.User(user)
	require.NoError(t, err)
	require.NoError(t, sallyport.Build(t.Context(), plane.Dir+"/sallyport"))
	expected := cluster.Root() + "/deploy/webhooks.yaml"
	restricted, err := sallyport.Run(t.Context(), plane, "restricted", sallyport.Options{Kubeconfig: kubeconfig, Args: []string{"--expect", expected}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, restricted.Stop()) })
	require.NoError(t, sallyport.Register(t.Context(), plane.Config, restricted.URL, sallyport.Configurations{}))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, restricted.Probes+"/readyz", http.NoBody)
		require.NoError(c, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(c, err)
		require.NoError(c, res.Body.Close())
		require.Equal(c, http.StatusOK, res.StatusCode)
		// It has the metrics, which take a review of the token, and has compared the
		// configurations, which are at another URL here.
		metrics, err := restricted.Scrape(t.Context(), plane.Config)
		require.NoError(c, err)
		require.Contains(c, metrics, `sallyport_webhook_drift{configuration="ValidatingWebhookConfiguration",field="clientConfig"} 1`)
		client, err := kubernetes.NewForConfig(plane.Config)
		require.NoError(c, err)
		leases, err := client.CoordinationV1().Leases("sallyport-system").List(t.Context(), metav1.ListOptions{LabelSelector: "sallyport.dev/replica"})
		require.NoError(c, err)
		require.Len(c, leases.Items, 1)
		events, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
		require.NoError(c, err)
		require.NotEmpty(c, events.Items)
	}, time.Minute, 200*time.Millisecond)
	log, err := os.ReadFile(restricted.LogFile)
	require.NoError(t, err)
	for line := range strings.Lines(string(log)) {
		require.NotContains(t, line, "forbidden")
	}
}

// bind gives the user what the server needs.
func bind(t *testing.T, plane *cluster.Cluster, user string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	rbac, ctx := client.RbacV1(), context.WithoutCancel(t.Context())
	var inCluster, inNamespace []rbacv1.PolicyRule
	for _, g := range examined.Grants(certs.ModeSelf, "sallyport", "sallyport-certs") {
		if g.Namespaced {
			inNamespace = append(inNamespace, g.Rule)
		} else {
			inCluster = append(inCluster, g.Rule)
		}
	}
	meta := metav1.ObjectMeta{Name: "sallyport"}
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}
	_, err = rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: inCluster}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.Roles("sallyport-system").Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: inNamespace}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = rbac.RoleBindings("sallyport-system").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}
