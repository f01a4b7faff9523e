// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"runtime"
	"strconv"
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

// BenchmarkCheck runs all rules over one object, in meshes of different sizes. Its
// cost must not grow with them.
func BenchmarkCheck(b *testing.B) {
	suite, err := analysis.NewSuite(All...)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{100, 1_000, 10_000, 100_000} {
		index := meshOf(config.Default(), size)
		for name, obj := range map[string]analysis.Object{
			"ServiceEntry":   serviceEntry(7),
			"VirtualService": virtualService(7),
		} {
			in := analysis.Input{Object: obj, Mesh: index, Now: time.Unix(0, 0)}
			b.Run(name+"/"+strconv.Itoa(size), func(b *testing.B) {
				runtime.GC() // what is left of building the mesh is not part of it
				b.ReportAllocs()
				for b.Loop() {
					if res := analysis.Check(suite, in); res.Denied() || len(res.NotEvaluated) > 0 {
						b.Fatal(res)
					}
				}
			})
		}
	}
}

// BenchmarkGatewayRoute leads two routes through the egress gateway, with the timeouts
// and retries that there are, and finds that there is nothing to do for those that
// are led. The first includes the copy of the object.
func BenchmarkGatewayRoute(b *testing.B) {
	conf := *config.Default()
	conf.Mesh.EgressGateways = []config.EgressGateway{{
		Name: "default", Gateway: "istio-egress/egress", Service: "egress.istio-egress.svc.cluster.local",
		Selector: map[string]string{"istio": "egressgateway"}, Ports: config.GatewayPorts{HTTP: 80, TLS: 443},
	}}
	pol := *policy.Default()
	pol.Gateway = policy.Route{Mode: policy.ModeInject, Name: "default"}
	for _, size := range []int{100, 1_000, 10_000, 100_000} {
		index := meshOf(&conf, size)
		index.Set(egressGateway())
		mutate := func(b *testing.B, vs *networkingv1.VirtualService, want int) {
			b.Helper()
			injections, failure := analysis.Mutate(Mutators, analysis.Input{Object: vs, Policy: &pol, Config: &conf, Mesh: index})
			if failure != nil || len(injections) != want {
				b.Fatal(failure, injections)
			}
		}
		original := virtualService(7)
		led := original.DeepCopy()
		mutate(b, led, 9)
		b.Run("original/"+strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mutate(b, original.DeepCopy(), 9)
			}
		})
		b.Run("led/"+strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mutate(b, led, 0)
			}
		})
	}
}

func egressGateway() *networkingv1.Gateway {
	gw := &networkingv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-egress", Name: "egress"}}
	gw.Spec.Servers = []*networking.Server{
		{Port: &networking.Port{Number: 80, Protocol: "HTTP"}, Hosts: []string{"*"}},
		{Port: &networking.Port{Number: 443, Protocol: "TLS"}, Tls: &networking.ServerTLSSettings{Mode: networking.ServerTLSSettings_PASSTHROUGH}, Hosts: []string{"*"}},
	}
	return gw
}

// BenchmarkBuild builds a whole index, and changes one object in it.
func BenchmarkBuild(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000, 100_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			for b.Loop() {
				meshOf(config.Default(), size)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(2*size), "µs/object")
		})
	}
}

// meshOf returns an index of n ServiceEntries, each with a VirtualService, ten to
// a namespace. A tenth are wildcards, a tenth have a host that each namespace
// declares for itself, and a tenth have TCP ports with addresses.
func meshOf(conf *config.Configuration, n int) *mesh.Index {
	index := mesh.New(conf)
	for i := range n {
		index.Set(serviceEntry(i))
		index.Set(virtualService(i))
	}
	index.SetComplete(analysis.Kinds()...)
	return index
}

func meta(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: fmt.Sprintf("ns%d", i/10), Name: fmt.Sprintf("x%d", i),
		CreationTimestamp: metav1.NewTime(time.Unix(int64(1e9+i), 0)),
	}
}

func serviceEntry(i int) *networkingv1.ServiceEntry {
	se := &networkingv1.ServiceEntry{ObjectMeta: meta(i)}
	se.Spec.Hosts = []string{fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("www.h%d.example.com", i)}
	se.Spec.Resolution = networking.ServiceEntry_DNS
	se.Spec.Ports = []*networking.ServicePort{
		{Number: 80, Name: "http", Protocol: "HTTP"}, {Number: 443, Name: "https", Protocol: "HTTPS"},
	}
	switch i % 10 {
	case 1:
		se.Spec.Hosts = []string{fmt.Sprintf("*.w%d.example.org", i)}
	case 2:
		se.Spec.Hosts = append(se.Spec.Hosts, "popular.example.com")
		se.Spec.ExportTo = []string{"."}
	case 3:
		se.Spec.Addresses = []string{fmt.Sprintf("192.0.2.%d", i%256)}
		se.Spec.Ports = []*networking.ServicePort{{Number: 5432, Name: "tcp", Protocol: "TCP"}}
		se.Spec.ExportTo = []string{"."}
	}
	return se
}

func virtualService(i int) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: meta(i)}
	vs.Spec.Hosts = []string{fmt.Sprintf("h%d.example.com", i)}
	vs.Spec.ExportTo = []string{"."}
	for range 2 {
		vs.Spec.Http = append(vs.Spec.Http, &networking.HTTPRoute{
			Route:   []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: vs.Spec.GetHosts()[0]}}},
			Timeout: durationpb.New(10 * time.Second),
			Retries: &networking.HTTPRetry{Attempts: 2, RetryOn: "connect-failure", PerTryTimeout: durationpb.New(time.Second)},
		})
	}
	return vs
}
