// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	cleanEntry = `
apiVersion: networking.istio.io/%s
kind: ServiceEntry
metadata:
  name: api
spec:
  hosts: [api.example.com]
  exportTo: [.]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
	wildcardEntry = `
apiVersion: networking.istio.io/%s
kind: ServiceEntry
metadata:
  %s
spec:
  hosts: ["*.example.com"]
  exportTo: [.]
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
	bareRoute = `
apiVersion: networking.istio.io/%s
kind: VirtualService
metadata:
  name: api
spec:
  hosts: [api.example.com]
  exportTo: [.]
  http:
  - route:
    - destination:
        host: api.example.com
`
	completeRoute = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: complete
spec:
  hosts:
  - www.example.org
  exportTo: [.]
  gateways: []
  http:
  - retries:
      attempts: 1
      perTryTimeout: 2.0s
      retryOn: connect-failure
    timeout: 5.0s
    route:
    - destination:
        host: www.example.org
        port:
          number: 80
      weight: 100
`
)

// TestServedVersions (R4): requests of every served version are judged and
// completed, since matchPolicy is Equivalent.
func TestServedVersions(t *testing.T) {
	for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
		t.Run(version, func(t *testing.T) {
			ns := newNamespace(t)
			message := refused(t, fmt.Sprintf(wildcardEntry, version, "name: all"), "apply", "-n", ns, "-f", "-")
			require.Contains(t, message, "serviceentry/wildcard-host")
			kubectl(t, fmt.Sprintf(cleanEntry, version), "apply", "-n", ns, "-f", "-")
			kubectl(t, fmt.Sprintf(bareRoute, version), "apply", "-n", ns, "-f", "-")
			require.Equal(t, "15s", get(t, ns, "virtualservice", "api", "{.spec.http[0].timeout}"))
			require.Equal(t, "2", get(t, ns, "virtualservice", "api", "{.spec.http[0].retries.attempts}"))
		})
	}
}

// TestDryRun: the answer is the same, and nothing is stored.
func TestDryRun(t *testing.T) {
	ns := newNamespace(t)
	object := fmt.Sprintf(wildcardEntry, "v1", "name: all")
	dry := refused(t, object, "create", "--dry-run=server", "-n", ns, "-f", "-")
	require.Equal(t, refused(t, object, "create", "-n", ns, "-f", "-"), dry)

	route := fmt.Sprintf(bareRoute, "v1")
	dryRoute := kubectl(t, route, "create", "--dry-run=server", "-n", ns, "-o", "yaml", "-f", "-")
	require.Error(t, run(t.Context(), "", "get", "-n", ns, "virtualservice", "api").err, "a dry run stores nothing")
	wet := kubectl(t, route, "create", "-n", ns, "-o", "yaml", "-f", "-")
	require.Equal(t, specOf(t, wet.stdout), specOf(t, dryRoute.stdout))
	require.Equal(t, wet.stderr, dryRoute.stderr, "the same warnings")
}

// TestApplyTwice (R7): what Sallyport adds does not fight with whoever applies.
func TestApplyTwice(t *testing.T) {
	for _, mode := range []string{"--server-side=false", "--server-side"} {
		t.Run(mode, func(t *testing.T) {
			ns := newNamespace(t)
			for _, object := range []string{fmt.Sprintf(cleanEntry, "v1"), fmt.Sprintf(bareRoute, "v1"), completeRoute} {
				kubectl(t, object, "apply", mode, "-n", ns, "-f", "-")
				generation := get(t, ns, "virtualservice,serviceentry", "", "{.items[*].metadata.generation}")
				kubectl(t, object, "apply", mode, "-n", ns, "-f", "-")
				require.Equal(t, generation, get(t, ns, "virtualservice,serviceentry", "", "{.items[*].metadata.generation}"))
			}
			require.Equal(t, "15s", get(t, ns, "virtualservice", "api", "{.spec.http[0].timeout}"))
		})
	}
}

// TestCompleteRouteIsKept: a VirtualService with its own timeout and retries is
// stored as written, also where Istio's own encoder would spell it otherwise.
func TestCompleteRouteIsKept(t *testing.T) {
	ns := newNamespace(t)
	out := kubectl(t, completeRoute, "create", "-n", ns, "-o", "yaml", "-f", "-")
	require.Equal(t, specOf(t, completeRoute), specOf(t, out.stdout))
	require.Empty(t, out.stderr, "and without a warning")
}

// TestGenerateName (R15).
func TestGenerateName(t *testing.T) {
	ns := newNamespace(t)
	message := refused(t, fmt.Sprintf(wildcardEntry, "v1", "generateName: all-"), "create", "-n", ns, "-f", "-")
	require.Contains(t, message, `"all-*"`)
	require.Contains(t, message, "serviceentry/wildcard-host")
}

// TestFinalizer (R3): whoever only removes a finalizer is let through, whatever the
// object is, so that old objects can be deleted.
func TestFinalizer(t *testing.T) {
	kubectl(t, "", "delete", "-n", old, "serviceentry", "finalizer", "--wait=false")
	out := kubectl(t, "", "patch", "-n", old, "serviceentry", "finalizer", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	require.Empty(t, out.stderr)
	require.Error(t, run(t.Context(), "", "get", "-n", old, "serviceentry", "finalizer").err, "it is gone")
}

// TestOldViolation (R16): an update that keeps what was wrong warns; one that adds to
// it is refused, and told of the addition alone.
func TestOldViolation(t *testing.T) {
	out := kubectl(t, "", "patch", "-n", old, "serviceentry", "violation", "--type=merge", "-p", `{"spec":{"exportTo":["."]}}`)
	require.Contains(t, out.stderr, "Warning: serviceentry/wildcard-host: spec.hosts[0]: admitted only because it was there before")

	message := refused(t, "", "patch", "-n", old, "serviceentry", "violation", "--type=merge", "-p", `{"spec":{"hosts":["*.example.org","*.example.com"]}}`)
	require.Contains(t, message, `spec.hosts[0]: Invalid value: "*.example.org"`)
	require.NotContains(t, message, `Invalid value: "*.example.com"`)
}

// TestDroppedField: what the API server drops without a word is told, since
// kubectl apply has kept it.
func TestDroppedField(t *testing.T) {
	ns := newNamespace(t)
	object := strings.Replace(fmt.Sprintf(cleanEntry, "v1"), "spec:", "spec:\n  export_to: [.]", 1)
	out := kubectl(t, object, "apply", "--validate=ignore", "-n", ns, "-f", "-")
	require.Contains(t, out.stderr, "Warning: egress/unknown-field: spec.export_to: was applied but dropped")
	require.Empty(t, get(t, ns, "serviceentry", "api", "{.spec.export_to}"))
}

// TestMessage pins what somebody reads who was refused.
func TestMessage(t *testing.T) {
	ns := newNamespace(t)
	message := refused(t, fmt.Sprintf(wildcardEntry, "v1", "name: all"), "apply", "-n", ns, "-f", "-")
	require.True(t, strings.HasPrefix(message, `The ServiceEntry "all" is invalid: spec.hosts[0]: Invalid value: "*.example.com": `), message)
	require.Contains(t, message, "(serviceentry/wildcard-host)")
}

// get returns what a JSONPath finds in an object, or in all of the kind.
func get(t *testing.T, namespace, kind, name, jsonPath string) string {
	t.Helper()
	args := []string{"get", "-n", namespace, kind, "-o", "jsonpath=" + jsonPath}
	if name != "" {
		args = append(args, name)
	}
	return kubectl(t, "", args...).stdout
}

// specOf returns the spec of a YAML document, with its values as written.
func specOf(t *testing.T, document string) any {
	t.Helper()
	var object unstructured.Unstructured
	require.NoError(t, yaml.Unmarshal([]byte(document), &object.Object))
	require.NotEmpty(t, object.Object["spec"])
	return object.Object["spec"]
}

// TestMutatingWebhookIsSkipped (R3b): the API server does not ask where there is
// nothing to fill in (mutate.MayChange says the same in Go), nor about updates
// that change nothing that rules read.
func TestMutatingWebhookIsSkipped(t *testing.T) {
	ns := newNamespace(t)
	tests := []struct {
		name string
		args []string
		in   string
		want int
	}{
		{"a route without timeout and retries", []string{"create", "-f", "-"}, fmt.Sprintf(bareRoute, "v1"), 2},
		{"a complete route", []string{"create", "-f", "-"}, completeRoute, 1},
		{"a finalizer", []string{"patch", "virtualservice", "complete", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/hold"]}}`}, "", 0},
		{"no finalizer", []string{"patch", "virtualservice", "complete", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`}, "", 0},
		{"a label", []string{"label", "virtualservice", "complete", "a=b"}, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := reviews(t, "VirtualService")
			kubectl(t, tt.in, append(tt.args, "-n", ns)...)
			require.Equal(t, tt.want, reviews(t, "VirtualService")-before)
		})
	}
}

// TestRouteWebhookIsSkipped (R3b): only while some policy has to do with gateways, waypoints
// or exportTo are ServiceEntries sent to be changed, and routes that are complete.
// What was led before is sent in any case, to be put right.
func TestRouteWebhookIsSkipped(t *testing.T) {
	ns := newNamespace(t)
	led := strings.Replace(completeRoute, "metadata:", "metadata:\n  annotations: {sallyport.dev/injected: v1}", 1)
	ask := func(kind, object string) func() int {
		return func() int {
			before := reviews(t, kind)
			kubectl(t, object, "create", "--dry-run=server", "-n", ns, "-f", "-")
			return reviews(t, kind) - before
		}
	}
	becomes := func(want int, asked func() int) {
		require.Eventually(t, func() bool { return asked() == want }, soon, 20*time.Millisecond)
	}
	entry, route, again := ask("ServiceEntry", fmt.Sprintf(cleanEntry, "v1")), ask("VirtualService", completeRoute), ask("VirtualService", led)
	becomes(1, entry)
	require.Equal(t, []int{1, 2}, []int{route(), again()})
	apply(t, egressPolicy("route-webhook", "nowhere", "  waypoint: {mode: Inject}\n"))
	becomes(2, entry)
	require.Equal(t, []int{2, 2}, []int{route(), again()})
	kubectl(t, "", "delete", "egresspolicy", "route-webhook")
	becomes(1, entry)
	require.Equal(t, []int{1, 2}, []int{route(), again()})
}

// reviews returns how many reviews of a kind the server has answered.
func reviews(t *testing.T, kind string) int {
	t.Helper()
	body, err := server.Scrape(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	sum := 0
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if strings.HasPrefix(series, "sallyport_admission_requests_total{") && strings.Contains(series, `kind="`+kind+`"`) {
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			sum += n
		}
	}
	return sum
}

// TestMesh: what others have declared a moment ago counts, as the server sees it
// in the cluster.
func TestMesh(t *testing.T) {
	owner, other := newNamespace(t), newNamespace(t)
	entry := `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: partner
spec:
  hosts: [partner.example.net]
  exportTo: ["*"]
  resolution: DNS
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
	kubectl(t, entry, "apply", "-n", owner, "-f", "-")
	require.Eventually(t, func() bool {
		out := run(t.Context(), entry, "create", "--dry-run=server", "-n", other, "-f", "-")
		return strings.Contains(out.stderr, fmt.Sprintf("must not overlap with a host of ServiceEntry '%s/partner', which had it first", owner))
	}, time.Minute, 50*time.Millisecond)

	route := `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: partner
spec:
  hosts: [%s]
  http:
  - timeout: 5s
    route:
    - destination: {host: proxy}
`
	message := refused(t, fmt.Sprintf(route, "partner.example.net"), "apply", "-n", other, "-f", "-")
	require.Contains(t, message, "(virtualservice/host-owner)")
	message = refused(t, fmt.Sprintf(route, "kubernetes.default"), "apply", "-n", other, "-f", "-")
	require.Contains(t, message, "must not be a Service of namespace 'default'")

	address := `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api-server
spec:
  hosts: [db.example.net]
  exportTo: [.]
  addresses: [%s]
  resolution: NONE
  ports:
  - {number: 5432, name: tcp-db, protocol: TCP}
`
	ip := get(t, "default", "service", "kubernetes", "{.spec.clusterIP}")
	message = refused(t, fmt.Sprintf(address, ip), "apply", "-n", other, "-f", "-")
	require.Contains(t, message, "must not overlap with an address of Service 'default/kubernetes'")
}
