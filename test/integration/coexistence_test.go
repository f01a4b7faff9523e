// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	istio "istio.io/client-go/pkg/clientset/versioned"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/sallyport-dev/sallyport/certs"
)

// TestReadinessCanary (R6): istiod believes in its own webhook when a dry run of this
// is refused; so it must not be by another.
func TestReadinessCanary(t *testing.T) {
	ns := newNamespace(t)
	// As istiod makes it (Istio 1.31, pkg/webhooks/validation/controller).
	gateway := &networkingv1.Gateway{ObjectMeta: metav1.ObjectMeta{
		Name: "invalid-gateway", Annotations: map[string]string{"internal.istio.io/webhook-always-reject": "true"},
		Labels: map[string]string{"istio.io/rev": "default"},
	}}
	_, err := newIstio(t).NetworkingV1().Gateways(ns).Create(t.Context(), gateway, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
}

// external is a host that only the namespace uses.
func external(ns string) string { return "www." + ns + ".example.org" }

// declare has a ServiceEntry say what the host speaks, and waits until Sallyport knows.
func declare(t *testing.T, ns string) {
	t.Helper()
	kubectl(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: www}
spec:
  hosts: [%s]
  exportTo: [.]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
`, external(ns)), "create", "-n", ns, "-f", "-")
	require.Eventually(t, func() bool {
		out := kubectl(t, fmt.Sprintf(bareRouteTo, external(ns)), "create", "--dry-run=server", "-n", ns, "-o", "yaml", "-f", "-")
		return strings.Contains(out.stdout, "timeout: 15s")
	}, time.Minute, 100*time.Millisecond)
}

const bareRouteTo = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: probe}
spec:
  hosts: [%[1]s]
  exportTo: [.]
  http: [{route: [{destination: {host: %[1]s}}]}]
`

func newIstio(t *testing.T) *istio.Clientset {
	t.Helper()
	client, err := istio.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	return client
}

// TestControllerIsNotFought: a controller that writes what it wants of a VirtualService
// whenever it is not so, as those for progressive delivery do, writes as often as
// without Sallyport: what is filled in makes no other object of the same wish.
func TestControllerIsNotFought(t *testing.T) {
	ns := newNamespace(t)
	declare(t, ns)
	routes := newIstio(t).NetworkingV1().VirtualServices(ns)
	wish := func(weight int32) *networkingv1.VirtualService {
		vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: "canary"}}
		vs.Spec.Hosts = []string{external(ns)}
		vs.Spec.ExportTo = []string{"."}
		vs.Spec.Http = []*networking.HTTPRoute{{Route: []*networking.HTTPRouteDestination{
			{Destination: &networking.Destination{Host: external(ns)}, Weight: 100 - weight},
			{Destination: &networking.Destination{Host: external(ns)}, Weight: weight},
		}}}
		return vs
	}
	_, err := routes.Create(t.Context(), wish(0), metav1.CreateOptions{})
	require.NoError(t, err)
	for i, weight := range []int32{10, 50, 100} {
		var generations []int64
		for range 3 { // each time as if it had found a difference
			vs := writeSpec(t, ns, wish(weight))
			require.Equal(t, "15s", get(t, ns, "virtualservice", "canary", "{.spec.http[0].timeout}"))
			generations = append(generations, vs.Generation)
		}
		require.Equal(t, []int64{int64(i) + 2, int64(i) + 2, int64(i) + 2}, generations)
	}
}

// writeSpec replaces the spec of what is there.
func writeSpec(t *testing.T, ns string, wish *networkingv1.VirtualService) (stored *networkingv1.VirtualService) {
	t.Helper()
	routes := newIstio(t).NetworkingV1().VirtualServices(ns)
	require.NoError(t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		vs, err := routes.Get(t.Context(), wish.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		wish.Spec.DeepCopyInto(&vs.Spec)
		stored, err = routes.Update(t.Context(), vs, metav1.UpdateOptions{})
		return err
	}))
	return stored
}

// TestForeignMutators (R7): what another webhook adds, before Sallyport or after, is
// completed too. (After only if Sallyport was asked before: the API server asks nobody
// again whom a matchCondition had it skip.)
func TestForeignMutators(t *testing.T) {
	for _, name := range []string{"a-before", "z-after"} {
		t.Run(name, func(t *testing.T) {
			ns := newNamespace(t)
			declare(t, ns)
			foreign(t, name, ns)
			kubectl(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [%[1]s]
  exportTo: [.]
  http:
  - {name: first, retries: {attempts: 0}, route: [{destination: {host: %[1]s}}]}
`, external(ns)), "create", "-n", ns, "-f", "-")
			// The foreign webhook has added a route, without timeout and retries.
			require.Equal(t, "added first", get(t, ns, "virtualservice", "api", "{.spec.http[*].name}"))
			require.Equal(t, "15s 15s", get(t, ns, "virtualservice", "api", "{.spec.http[*].timeout}"))
			require.Equal(t, "2", get(t, ns, "virtualservice", "api", "{.spec.http[0].retries.attempts}"))
			require.Equal(t, "0", get(t, ns, "virtualservice", "api", "{.spec.http[1].retries.attempts}"))
		})
	}
}

// addRoute puts a bare route to a host before all others.
const addRoute = `[{"op":"add","path":"/spec/http/0","value":{"name":"added","match":[{"uri":{"prefix":"/new"}}],"route":[{"destination":{"host":%q}}]}}]`

// foreign registers another mutating webhook, which is asked about VirtualServices in
// the namespace, before or after Sallyport by its name.
func foreign(t *testing.T, name, ns string) {
	t.Helper()
	source, err := certs.NewInMemory(certs.Options{DNSNames: []string{"localhost"}})
	require.NoError(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: source.GetCertificate, MinVersion: tls.VersionTLS13})
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(answerForeign), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	configurations := client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	_, err = configurations.Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "foreign.example.com", AdmissionReviewVersions: []string{"v1"},
			SideEffects:        new(admissionregistrationv1.SideEffectClassNone),
			ReinvocationPolicy: new(admissionregistrationv1.IfNeededReinvocationPolicy),
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: new("https://localhost:" + port(listener)), CABundle: source.CABundle(),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{"networking.istio.io"}, APIVersions: []string{"v1"}, Resources: []string{"virtualservices"},
				},
			}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, configurations.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}))
	})
	awaitForeign(t, ns)
}

// awaitForeign waits until the API server asks the foreign webhook.
func awaitForeign(t *testing.T, ns string) {
	t.Helper()
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
	vs.Spec.Hosts, vs.Spec.ExportTo = []string{external(ns)}, []string{"."}
	vs.Spec.Http = []*networking.HTTPRoute{{Name: "first", Route: []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: external(ns)}}}}}
	routes := newIstio(t).NetworkingV1().VirtualServices(ns)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		stored, err := routes.Create(t.Context(), vs, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(c, err)
		assert.Len(c, stored.Spec.GetHttp(), 2)
	}, time.Minute, 50*time.Millisecond)
}

func answerForeign(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	var vs networkingv1.VirtualService
	if json.Unmarshal(review.Request.Object.Raw, &vs) == nil && vs.Spec.GetHttp()[0].GetName() == "first" {
		review.Response.Patch = fmt.Appendf(nil, addRoute, vs.Spec.GetHosts()[0])
		review.Response.PatchType = new(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	_ = json.NewEncoder(w).Encode(review)
}

func port(l net.Listener) string {
	_, p, _ := net.SplitHostPort(l.Addr().String())
	return p
}
