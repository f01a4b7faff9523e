// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// mutated returns the object after /mutate, as the API server would store it.
func mutated(tb testing.TB, url, object string) (string, *admissionv1.AdmissionResponse) {
	tb.Helper()
	res := review(tb, url+MutatePath, newRequest(tb, object))
	require.True(tb, res.Allowed)
	if res.Patch == nil {
		require.Nil(tb, res.PatchType)
		return object, res
	}
	require.Equal(tb, admissionv1.PatchTypeJSONPatch, *res.PatchType)
	patch, err := jsonpatch.DecodePatch(res.Patch)
	require.NoError(tb, err)
	after, err := patch.Apply([]byte(object))
	require.NoError(tb, err)
	return string(after), res
}

// TestMutateAddsOnlyWhatIsAbsent (R9, R25).
func TestMutateAddsOnlyWhatIsAbsent(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	// Spellings that Istio's encoder would change, and a field it would drop.
	object := `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"api","namespace":"shop"},` +
		`"spec":{"hosts":["api.example.com"],"exportTo":[],"fromTheFuture":{"b":1,"a":[]},` +
		`"http":[{"timeout":"10.0s","route":[{"destination":{"host":"api.example.com"},"weight":0}]}]}}`
	_, res := mutated(t, url, object)
	var ops []analysis.Operation
	require.NoError(t, json.Unmarshal(res.Patch, &ops))
	require.Len(t, ops, 1)
	require.Equal(t, "add", ops[0].Op)
	require.Equal(t, "/spec/http/0/retries", ops[0].Path)
	require.JSONEq(t, `{"attempts":2,"retryOn":"connect-failure,refused-stream,reset-before-request"}`, string(ops[0].Value))
	require.Equal(t, "mutate/retries spec.http[0].retries", res.AuditAnnotations["injected"])
	require.Len(t, res.Warnings, 1)
	require.Contains(t, res.Warnings[0], "mutate/retries: set spec.http[0].retries")
}

func TestMutateLeavesAlone(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	complete := replace(t, bareRoute, `{"route"`, `{"timeout":"3s","retries":{},"route"`)
	deleting := withMeta(t, bareRoute, `"deletionTimestamp":"2026-01-01T00:00:00Z"`)
	tests := []struct {
		name string
		req  *admissionv1.AdmissionRequest
	}{
		{"a route with a timeout and retries", newRequest(t, complete)},
		{"a kind without mutators", newRequest(t, wildcardEntry)},
		{"an object on its way out", newRequest(t, deleting)},
		{"an update of nothing", newRequest(t, bareRoute, update(bareRoute))},
		{"an object that cannot be decoded", newRequest(t, replace(t, bareRoute, `"http":[`, `"http":7,"tcp":[`))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := review(t, url+MutatePath, tt.req)
			require.True(t, res.Allowed)
			require.Nil(t, res.Patch)
			require.Empty(t, res.Warnings)
		})
	}
}

// TestMutateTwice (R7): mutate(mutate(x)) == mutate(x), and what is there is kept.
func TestMutateTwice(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t)))
	random := rand.New(rand.NewPCG(1, 2))
	changed := 0
	for range 300 {
		object := randomVirtualService(random)
		once, res := mutated(t, url, object)
		twice, again := mutated(t, url, once)
		require.JSONEq(t, once, twice)
		require.Nil(t, again.Patch, "%s\nbecame\n%s", object, once)
		require.True(t, review(t, url+ValidatePath, newRequest(t, once)).Allowed, once)
		if res.Patch != nil {
			changed++
		}
	}
	require.Greater(t, changed, 50, "the generator makes nothing to change")
}

func randomVirtualService(random *rand.Rand) string {
	pick := func(choices ...string) string { return choices[random.IntN(len(choices))] }
	var routes []string
	for range 1 + random.IntN(4) {
		fields := []string{pick(
			`"route":[{"destination":{"host":"api.example.com"}}]`,
			`"route":[{"destination":{"host":"reviews"}}]`,
			`"route":[{"destination":{"host":"api.example.com"},"weight":1},{"destination":{"host":"www.example.com"},"weight":99}]`,
			`"redirect":{"uri":"/new"}`,
			`"directResponse":{"status":503}`,
			`"delegate":{"name":"other"}`,
		)}
		fields = append(fields,
			pick("", `"timeout":"5s"`),
			pick("", `"retries":{}`, `"retries":{"attempts":1}`, `"retries":{"attempts":3,"retryOn":"5xx","perTryTimeout":"1s"}`),
			pick("", "", `"fault":{"abort":{"httpStatus":500,"percentage":{"value":1}}}`),
			pick("", "", `"match":[{"headers":{"upgrade":{"exact":"websocket"}}}]`, `"match":[{"uri":{"prefix":"/a"}}]`),
		)
		routes = append(routes, "{"+strings.Join(compact(fields), ",")+"}")
	}
	return fmt.Sprintf(`{"apiVersion":"networking.istio.io/v1","kind":"VirtualService",`+
		`"metadata":{"name":"api","namespace":"shop"},"spec":{"hosts":["api.example.com"],%s"http":[%s]}}`,
		pick("", `"gateways":["mesh"],`, `"gateways":["istio-egress/egress","mesh"],`), strings.Join(routes, ","))
}

func compact(fields []string) []string {
	var kept []string
	for _, f := range fields {
		if f != "" {
			kept = append(kept, f)
		}
	}
	return kept
}
