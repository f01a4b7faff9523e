// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// labels are all that metrics may have, with the reason why each has few values.
var labels = map[string]string{
	"action":    "what a policy makes of a finding",
	"decision":  "kinds of answers",
	"dry_run":   "true or false",
	"goversion": "one of each build",
	"kind":      "kinds that there are rules for, or other",
	"le":        "buckets",
	"mutator":   "names in the catalogue",
	"name":      "names in the catalogue",
	"operation": "operations of the API server, or other",
	"phase":     "phases of a rotation",
	"quantile":  "of the Go runtime's summaries",
	"reason":    "classes of errors",
	"result":    "classes of errors, or success",
	"role":      "leaf and CAs by what they are for",
	"rule":      "names in the catalogue",
	"source":    "front ends",
	"state":     "states of policies and exemptions",
	"step":      "steps of a rotation",
	"target":    "kinds of webhook configurations",
	"version":   "one of each build",
}

// TestMetricsAreBounded: whatever callers send, who may be anybody that reaches the
// port, no label has a value of theirs, and a second round adds no series.
func TestMetricsAreBounded(t *testing.T) {
	ns := newNamespace(t)
	refused(t, fmt.Sprintf(wildcardEntry, "v1", "name: all"), "create", "-n", ns, "-f", "-")
	kubectl(t, fmt.Sprintf(bareRoute, "v1"), "create", "-n", ns, "-f", "-")
	kubectl(t, "", "delete", "-n", ns, "virtualservice", "api")

	client, err := server.Client(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	for _, canary := range []string{"canary-one", "canary-two"} {
		sendHostile(t, client, canary)
	}
	before := families(t)
	sendHostile(t, client, "canary-three")
	after := families(t)

	for _, name := range slices.Sorted(maps.Keys(after)) {
		family := after[name]
		require.Len(t, family.GetMetric(), len(before[name].GetMetric()), "series of %s", name)
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				require.Contains(t, labels, l.GetName(), "label of %s: if its values are few, add it to the list", name)
				require.NotContains(t, strings.ToLower(l.GetValue()), "canary", "%s of %s", l.GetName(), name)
			}
		}
	}
}

// sendHostile sends requests that no API server would send, each with the canary
// wherever there is room for it.
func sendHostile(t *testing.T, client *http.Client, canary string) {
	t.Helper()
	object := runtime.RawExtension{Raw: fmt.Appendf(nil, `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry",`+
		`"metadata":{"name":"%[1]s","annotations":{"sallyport.dev/break-glass":"%[1]s"}},"spec":{"hosts":["*.%[1]s.example.com"]}}`, canary)}
	good := admissionv1.AdmissionRequest{
		UID: types.UID(canary), Kind: metav1.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "ServiceEntry"},
		Operation: admissionv1.Create, Name: canary, Namespace: "default", Object: object,
		UserInfo: authenticationv1.UserInfo{Username: canary, Groups: []string{canary}},
	}
	for change, tt := range map[string]struct {
		change func(*admissionv1.AdmissionRequest)
		status int
	}{
		"nothing":     {func(*admissionv1.AdmissionRequest) {}, http.StatusOK},
		"dry run":     {func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }, http.StatusOK},
		"operation":   {func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Operation(canary) }, http.StatusOK},
		"kind":        {func(r *admissionv1.AdmissionRequest) { r.Kind.Kind = canary }, http.StatusBadRequest},
		"group":       {func(r *admissionv1.AdmissionRequest) { r.Kind.Group = canary }, http.StatusBadRequest},
		"subresource": {func(r *admissionv1.AdmissionRequest) { r.SubResource = canary }, http.StatusOK},
		"namespace":   {func(r *admissionv1.AdmissionRequest) { r.Namespace = canary }, http.StatusServiceUnavailable},
		"object":      {func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`"` + canary + `"`) }, http.StatusOK},
	} {
		req := good
		tt.change(&req)
		body, err := json.Marshal(admissionv1.AdmissionReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &req,
		})
		require.NoError(t, err)
		status, answer := do(t, client, http.MethodPost, server.URL+"/validate", "", string(body))
		require.Equal(t, tt.status, status, "%s: %s", change, answer)
		_, _ = do(t, client, http.MethodPost, server.URL+"/mutate", "", string(body))
	}
	for _, path := range []string{"/validate", "/mutate", "/" + canary} {
		_, _ = do(t, client, http.MethodPost, server.URL+path, "", canary)
		_, _ = do(t, client, strings.ToUpper(canary), server.URL+path, "", "")
	}
}

// do sends a request with a bearer token, if it is not empty.
func do(t *testing.T, client *http.Client, method, url, token, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

// families returns the metrics of the server by name.
func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	body, err := server.Scrape(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err)
	return families
}

// TestMetricsAreLinted: everything that the server exposes is as Prometheus wants it.
func TestMetricsAreLinted(t *testing.T) {
	all := slices.Collect(maps.Values(families(t)))
	require.Greater(t, len(all), 50)
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

// TestMetricsTellPolicies: the number of the policies changes with them, and comes back
// to none's; exemptions are counted by state.
func TestMetricsTellPolicies(t *testing.T) {
	value := func(name, label string) float64 {
		for _, m := range families(t)[name].GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue()
			}
		}
		return -1
	}
	generation := func() float64 { return value("sallyport_policy_generation", "") }
	none := generation()
	require.Positive(t, none)
	changes := func(from float64) float64 {
		t.Helper()
		require.Eventually(t, func() bool { return generation() != from }, soon, 20*time.Millisecond)
		return generation()
	}
	object := egressPolicy("metrics", "metrics", "  hosts: {denied: [{host: www.example.com}]}\n")
	apply(t, object)
	first := changes(none)
	kubectl(t, strings.Replace(object, "www", "api", 1), "apply", "-f", "-")
	second := changes(first)
	require.NotContains(t, []float64{none, first}, second)
	apply(t, fmt.Sprintf(`
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressExemption
metadata: {name: metrics}
spec:
  rules: [serviceentry/wildcard-host]
  namespace: shop
  kind: ServiceEntry
  reason: it expires soon
  expiresAt: %s
`, time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)))
	changes(second)
	require.InDelta(t, 1, value("sallyport_exemptions", "expiring"), 0)
	require.InDelta(t, 0, value("sallyport_exemptions", "active"), 0)
	kubectl(t, "", "delete", "egresspolicy,egressexemption", "metrics")
	require.Eventually(t, func() bool { return generation() == none }, soon, 20*time.Millisecond)
}

// TestMetricsAccess: the API server decides who reads metrics, and is asked once for
// many scrapes.
func TestMetricsAccess(t *testing.T) {
	client, err := server.Client(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	may, err := sallyport.ScraperToken(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	mayNot, err := sallyport.Token(t.Context(), controlPlane.Config, "nobody")
	require.NoError(t, err)
	url := server.Metrics + "/metrics"
	tests := []struct {
		name, token string
		status      int
		says        string
	}{
		{"no token", "", http.StatusUnauthorized, "who show a token"},
		{"an unknown token", "abc", http.StatusUnauthorized, "who show a token"},
		{"a token without the right", mayNot, http.StatusForbidden, "who may get the nonResourceURL /metrics"},
		{"a token with the right", may, http.StatusOK, "sallyport_build_info{"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tokenReviews(t)
			for range 5 {
				status, body := do(t, client, http.MethodGet, url, tt.token, "")
				require.Equal(t, tt.status, status, body)
				require.Contains(t, body, tt.says)
				require.Equal(t, tt.status == http.StatusOK, strings.Contains(body, "go_goroutines"))
			}
			require.LessOrEqual(t, tokenReviews(t)-before, 2, "the answer is remembered for a while")
		})
	}
	for _, path := range []string{"/", "/healthz", "/validate", "/debug/pprof/"} {
		status, _ := do(t, client, http.MethodGet, server.Metrics+path, may, "")
		require.Equal(t, http.StatusNotFound, status, path)
	}
	status, _ := do(t, client, http.MethodPost, url, may, "")
	require.Equal(t, http.StatusMethodNotAllowed, status)
	status, _ = do(t, http.DefaultClient, http.MethodGet, server.Probes+"/metrics", may, "")
	require.Equal(t, http.StatusNotFound, status, "not where everybody may read")
}

// tokenReviews returns how many the API server has answered.
func tokenReviews(t *testing.T) int {
	t.Helper()
	client, err := kubernetes.NewForConfig(controlPlane.Config)
	require.NoError(t, err)
	text, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	require.NoError(t, err)
	sum := 0.0
	for _, m := range families["apiserver_request_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "resource" && l.GetValue() == "tokenreviews" {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return int(sum)
}

// TestMetricsOutage: while the API server cannot be asked, scrapers are refused; reviews
// go on, the server remains ready, and its log does not fill.
func TestMetricsOutage(t *testing.T) {
	line := newLine(t, apiServer())
	other, err := sallyport.Run(t.Context(), controlPlane, "outage", sallyport.Options{Args: []string{"--kubeconfig", line.kubeconfig(t)}})
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Stop()) }()
	client, err := server.Client(t.Context(), controlPlane.Config) // both have the same CA
	require.NoError(t, err)
	ready := func() bool {
		status, _ := do(t, http.DefaultClient, http.MethodGet, other.Probes+"/readyz", "", "")
		return status == http.StatusOK
	}
	require.Eventually(t, ready, time.Minute, 20*time.Millisecond)
	token, err := sallyport.ScraperToken(t.Context(), controlPlane.Config)
	require.NoError(t, err)
	line.cut()
	const scrapes = 10
	for range scrapes {
		status, body := do(t, client, http.MethodGet, other.Metrics+"/metrics", token, "")
		require.Equal(t, http.StatusServiceUnavailable, status, body)
	}
	require.True(t, ready())
	review := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a","operation":"CREATE","namespace":"default",` +
		`"kind":{"group":"networking.istio.io","version":"v1","kind":"ServiceEntry"},` +
		`"object":{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"all"},"spec":{"hosts":["*.example.com"]}}}}`
	status, body := do(t, client, http.MethodPost, other.URL+"/validate", "", review)
	require.Equal(t, http.StatusOK, status, body)
	require.Contains(t, body, "serviceentry/wildcard-host")
	log, err := os.ReadFile(other.LogFile)
	require.NoError(t, err)
	complaints := strings.Count(string(log), "Could not find out who may read metrics")
	require.Positive(t, complaints)
	require.Less(t, complaints, scrapes, "one a minute")
}

// A line to the API server, which can be cut.
type line struct {
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the life of the line
	cut      context.CancelFunc
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l := new(line)
	l.ctx, l.cut = context.WithCancel(t.Context())
	var err error
	l.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	context.AfterFunc(l.ctx, func() { _ = l.listener.Close() })
	go func() {
		for {
			near, err := l.listener.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(l.ctx, "tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			context.AfterFunc(l.ctx, func() { _, _ = near.Close(), far.Close() })
			go func() { _, _ = io.Copy(far, near) }()
			go func() { _, _ = io.Copy(near, far) }()
		}
	}()
	return l
}

// apiServer returns the API server's address.
func apiServer() string {
	return strings.Trim(strings.TrimPrefix(controlPlane.Config.Host, "https:"), "/")
}

// kubeconfig returns a kubeconfig file that uses the line.
func (l *line) kubeconfig(t *testing.T) string {
	t.Helper()
	direct, err := os.ReadFile(controlPlane.Kubeconfig)
	require.NoError(t, err)
	require.Contains(t, string(direct), apiServer())
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(direct), apiServer(), l.listener.Addr().String())), 0o600))
	return file
}
