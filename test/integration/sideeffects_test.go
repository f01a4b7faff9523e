// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// TestNoSideEffects: requests that are dry runs, are denied, or are rejected after the
// webhooks were asked, change nothing in the cluster: no event, no status, no object.
// Counters tell of them, and which were dry runs (R8).
func TestNoSideEffects(t *testing.T) {
	ns := labeledNamespace(t, "side-effects")
	apply(t, egressPolicy("side-effects", "side-effects", "  hosts: {denied: [{host: www.example.com}]}\n  defaults: {timeout: 15s}\n"))
	denied := strings.Replace(fmt.Sprintf(wildcardEntry, "v1", "name: all"), "*.example.com", "www.example.com", 1)
	becomes(t, ns, denied, false, "serviceentry/allowed-host")
	broken := strings.Replace(denied, "name: all", "name: all\n  annotations: {sallyport.dev/break-glass: because}", 1)
	route := strings.ReplaceAll(fmt.Sprintf(bareRoute, "v1"), "example.com", "example.org")
	kubectl(t, strings.ReplaceAll(fmt.Sprintf(cleanEntry, "v1"), "example.com", "example.org"), "create", "-n", ns, "-f", "-")
	kubectl(t, route, "create", "-n", ns, "-f", "-")
	require.Eventually(t, func() bool {
		return kubectl(t, "", "get", "egresspolicy", "side-effects", "-o", `jsonpath={.status.conditions[?(@.type=="Programmed")].status}`).stdout == "True"
	}, soon, 20*time.Millisecond)

	counted := dryRuns(t) // whose reader is created the first time
	before := everything(t)
	for range 3 {
		refused(t, denied, "create", "-n", ns, "-f", "-")
		refused(t, denied, "create", "--dry-run=server", "-n", ns, "-f", "-")
		require.Contains(t, kubectl(t, broken, "create", "--dry-run=server", "-n", ns, "-f", "-").stderr, "let through by break-glass")
		require.Contains(t, kubectl(t, strings.Replace(route, "name: api", "name: other", 1), "create", "--dry-run=server", "-n", ns, "-f", "-").stderr, "mutate/timeout")
		require.Contains(t, refused(t, route, "create", "-n", ns, "-f", "-"), "already exists", "after it was admitted")
	}
	require.Equal(t, before, everything(t))
	after := dryRuns(t)
	for _, series := range []string{
		`sallyport_admission_requests_total{decision="deny",dry_run="%t",kind="ServiceEntry",operation="CREATE"}`,
		`sallyport_admission_requests_total{decision="mutate",dry_run="%t",kind="VirtualService",operation="CREATE"}`,
		`sallyport_findings_total{action="Deny",dry_run="%t",rule="serviceentry/allowed-host",source="admission"}`,
		`sallyport_injections_total{dry_run="%t",mutator="mutate/timeout"}`,
		`sallyport_breakglass_total{dry_run="true",result="allowed"}`,
	} {
		for _, dryRun := range []bool{true, false} {
			name := strings.ReplaceAll(series, "%t", strconv.FormatBool(dryRun))
			require.Greater(t, after[name], counted[name], name)
		}
	}
}

// dryRuns returns the counters that tell dry runs apart, by series.
func dryRuns(t *testing.T) map[string]float64 {
	t.Helper()
	body, err := server.Scrape(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	counters := map[string]float64{}
	for line := range strings.Lines(body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok && strings.Contains(series, "dry_run=") {
			counters[series+"}"], err = strconv.ParseFloat(value, 64)
			require.NoError(t, err)
		}
	}
	return counters
}

// everything returns the versions of all objects in the cluster but Leases, which the
// API server renews.
func everything(t *testing.T) map[string]string {
	t.Helper()
	api, err := discovery.NewDiscoveryClientForConfig(controlPlane.Config)
	require.NoError(t, err)
	lists, err := api.ServerPreferredResources()
	require.NoError(t, err)
	client, err := metadata.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	versions := map[string]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		require.NoError(t, err)
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if !slices.Contains(resource.Verbs, "list") || resource.Name == "leases" || resource.Name == "componentstatuses" {
				continue
			}
			objects, err := client.Resource(gv.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err, resource.Name)
			for j := range objects.Items {
				o := &objects.Items[j]
				versions[resource.Name+" "+o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	require.Greater(t, len(versions), 50)
	return versions
}
