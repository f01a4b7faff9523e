// SPDX-License-Identifier: Apache-2.0

package mutate_test

import (
	"testing"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/mutate"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// benchmarkInput returns a VirtualService with one bare route to a known host.
func benchmarkInput() analysis.Input {
	index := mesh.New(config.Default())
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"}}
	se.Spec.Hosts = []string{"api.example.com"}
	se.Spec.Ports = []*networking.ServicePort{{Number: 80, Name: "http", Protocol: "HTTP"}}
	index.Set(se)
	index.SetComplete(analysis.ServiceEntry)
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"}}
	vs.Spec.Hosts = []string{"api.example.com"}
	vs.Spec.Http = []*networking.HTTPRoute{{
		Match: []*networking.HTTPMatchRequest{{Uri: &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: "/v1"}}}},
		Route: []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: "api.example.com"}}},
	}}
	return analysis.Input{Object: vs, Policy: policy.Default(), Config: config.Default(), Mesh: index}
}

func BenchmarkMutate(b *testing.B) {
	in := benchmarkInput()
	r := in.Object.(*networkingv1.VirtualService).Spec.GetHttp()[0]
	b.Run("fill", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Timeout, r.Retries = nil, nil
			if injections, _ := analysis.Mutate(mutate.Mutators, in); len(injections) != 2 {
				b.Fatal(injections)
			}
		}
	})
	b.Run("nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if injections, _ := analysis.Mutate(mutate.Mutators, in); len(injections) != 0 {
				b.Fatal(injections)
			}
		}
	})
}
