// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

func BenchmarkCheck(b *testing.B) {
	index := mesh.New(config.Default())
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"}}
	se.Spec.Hosts = []string{"api.example.com"}
	index.Set(se)
	suite, err := analysis.NewSuite(Rules...)
	if err != nil {
		b.Fatal(err)
	}
	for name, timeout := range map[string]time.Duration{"clean": 10 * time.Second, "warned": time.Hour} {
		vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "api"}}
		vs.Spec.Hosts, vs.Spec.ExportTo = se.Spec.GetHosts(), []string{"."}
		for range 3 {
			vs.Spec.Http = append(vs.Spec.Http, &networking.HTTPRoute{
				Match:   []*networking.HTTPMatchRequest{{Method: &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: "GET"}}}},
				Route:   []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: "api.example.com"}}},
				Timeout: durationpb.New(timeout),
				Retries: &networking.HTTPRetry{Attempts: 2, RetryOn: "5xx", PerTryTimeout: durationpb.New(time.Second)},
			})
		}
		in := analysis.Input{Object: vs, Policy: policy.Default(), Config: withGateways(), Mesh: index}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if res := analysis.Check(suite, in); len(res.Findings) != 0 && name == "clean" {
					b.Fatal(res.Findings)
				}
			}
		})
	}
}
