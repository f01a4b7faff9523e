// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sallyport-dev/sallyport/rules/manifest"
)

// BenchmarkHandler measures a review from the body to the answer, without TLS
// and network.
func BenchmarkHandler(b *testing.B) {
	benchmarks := []struct{ name, path, object string }{
		{"validate/ServiceEntry", ValidatePath, cleanEntry},
		{"validate/ServiceEntry/denied", ValidatePath, wildcardEntry},
		{"validate/VirtualService", ValidatePath, bareRoute},
		{"mutate/VirtualService", MutatePath, bareRoute},
	}
	handler := newTestServer(b, testOptions(b)).Handler()
	for _, bm := range benchmarks {
		body := encode(b, newRequest(b, bm.object))
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, bm.path, bytes.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				res := httptest.NewRecorder()
				handler.ServeHTTP(res, req)
				if res.Code != http.StatusOK {
					b.Fatal(res.Body)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, object := range map[string]string{"ServiceEntry": cleanEntry, "VirtualService": bareRoute} {
		gvk := schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: name}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := manifest.Decode(gvk, []byte(object)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
