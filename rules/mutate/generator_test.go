// SPDX-License-Identifier: Apache-2.0

package mutate_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A generator makes random VirtualServices and what surrounds them.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 2))} }

// oneIn is true for one of n.
func (g generator) oneIn(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

// input returns everything that a mutator may know, and the VirtualService in it.
func (g generator) input(t *testing.T) (analysis.Input, *networkingv1.VirtualService) {
	t.Helper()
	conf, err := config.Parse([]byte(pick(g, "", `mesh: {egressGateways: [{name: default, gateway: istio-egress/egress, service: e.istio-egress.svc.cluster.local}]}`) +
		"\napiVersion: config.sallyport.dev/v1alpha1\nkind: Configuration\n"))
	require.NoError(t, err)
	index := mesh.New(conf)
	for _, host := range []string{"api.example.com", "grpc.example.com", "db.corp"} {
		if !g.oneIn(4) {
			index.Set(g.serviceEntry(host))
		}
	}
	if !g.oneIn(3) {
		index.SetComplete(analysis.ServiceEntry)
	}
	vs := g.virtualService()
	return analysis.Input{Object: vs, Policy: g.policy(t), Config: conf, Mesh: index}, vs
}

func (g generator) serviceEntry(host string) *networkingv1.ServiceEntry {
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: host}}
	se.Spec.Hosts = []string{host}
	for number := range uint32(1 + g.IntN(2)) {
		se.Spec.Ports = append(se.Spec.Ports, &networking.ServicePort{
			Number: 80 + number, Name: fmt.Sprintf("p%d", number), Protocol: pick(g, "HTTP", "http", "HTTPS", "GRPC", "HTTP2", ""),
		})
	}
	return se
}

func (g generator) policy(t *testing.T) *policy.Policy {
	t.Helper()
	if g.oneIn(3) {
		return policy.Default()
	}
	spec := pick(g, "", "limits: {maxTimeout: 10s, maxRetryAttempts: 2}, ") + pick(g, "", "gateway: {mode: Require}, ") +
		"defaults: {" + pick(g, "", "timeout: 30s, ") +
		pick(g, "", "retries: {attempts: 3}", `retries: {attempts: 2, retryOn: "gateway-error,reset", perTryTimeout: 4s}`,
			`retries: {attempts: 1, retryOn: "5xx"}`, `retries: {attempts: 2, retryOn: connect-failure, perTryTimeout: 1s}`) + "}"
	var docs policy.Documents
	require.NoError(t, docs.Parse("policy.yaml", []byte(
		"apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: a}\nspec: {namespaceSelector: {}, "+spec+"}")))
	policyFor, err := docs.Compile()
	require.NoError(t, err)
	return policyFor("shop")
}

func (g generator) virtualService() *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}}
	if g.oneIn(6) {
		vs.Annotations = map[string]string{"sallyport.dev/inject": pick(g, "none", "timeout", "mutate/retries", "timeout,retries", "")}
	}
	if !g.oneIn(6) {
		vs.Spec.Hosts = []string{"api.example.com"}
	}
	vs.Spec.Gateways = pick(g, nil, nil, nil, []string{"mesh"},
		[]string{"istio-system/ingress"}, []string{"mesh", "istio-system/ingress"}, []string{"istio-egress/egress"})
	for range 1 + g.IntN(5) {
		vs.Spec.Http = append(vs.Spec.Http, g.route())
	}
	return vs
}

func (g generator) route() *networking.HTTPRoute {
	r := &networking.HTTPRoute{Name: pick(g, "", "", "", "own", "sallyport-mesh-80")}
	for range max(0, g.IntN(5)-2) {
		r.Match = append(r.Match, &networking.HTTPMatchRequest{
			Gateways: pick(g, nil, nil, []string{"mesh"}, []string{"istio-system/ingress"}),
			Headers: pick(g, nil, nil, map[string]*networking.StringMatch{
				pick(g, "upgrade", "Accept", "x-other"): {MatchType: &networking.StringMatch_Exact{Exact: pick(g, "websocket", "text/event-stream", "a")}},
			}),
		})
	}
	switch g.IntN(10) {
	case 0:
		r.Redirect = &networking.HTTPRedirect{Uri: "/a"}
	case 1:
		r.DirectResponse = &networking.HTTPDirectResponse{Status: 503}
	case 2:
		r.Delegate = &networking.Delegate{Name: "other"}
	default:
		for range 1 + g.IntN(4)/3 {
			r.Route = append(r.Route, g.destination())
		}
	}
	if g.oneIn(8) {
		r.Fault = &networking.HTTPFaultInjection{}
	}
	if g.oneIn(3) {
		r.Timeout = durationpb.New(pick(g, time.Millisecond, 5*time.Second, 12*time.Second, time.Hour))
	}
	if g.oneIn(3) {
		r.Retries = g.retries()
	}
	return r
}

func (g generator) destination() *networking.HTTPRouteDestination {
	d := &networking.Destination{Host: pick(g, "api.example.com", "api.example.com", "api.example.com", "API.example.com.", "grpc.example.com",
		"db.corp", "later.example.com", "reviews", "reviews.shop.svc.cluster.local")}
	if g.oneIn(3) {
		d.Port = &networking.PortSelector{Number: pick[uint32](g, 80, 81)}
	}
	return &networking.HTTPRouteDestination{Destination: d}
}

func (g generator) retries() *networking.HTTPRetry {
	r := &networking.HTTPRetry{Attempts: pick[int32](g, 0, 1, 3)}
	if r.GetAttempts() == 0 {
		return r
	}
	r.RetryOn = pick(g, "", "5xx", "connect-failure,reset")
	if g.oneIn(2) {
		r.PerTryTimeout = durationpb.New(pick(g, time.Millisecond, 2*time.Second, 20*time.Second))
	}
	return r
}
