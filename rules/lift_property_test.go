// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

func isLifted(vs *networkingv1.VirtualService) bool {
	_, ok := vs.Annotations["sallyport.dev/injected"]
	return ok
}

func text(vs *networkingv1.VirtualService) string {
	return protojson.MarshalOptions{}.Format(&vs.Spec)
}

// TestLiftConverges: whatever part of a lifted VirtualService is written over with the
// original, with or without the annotation, it is lifted to the same again.
func TestLiftConverges(t *testing.T) {
	lifted := 0
	for seed := range uint64(liftRounds) {
		w := newLiftWorld(t, seed)
		once := w.apply(t, w.vs)
		if !isLifted(once) {
			continue
		}
		lifted++
		for name, revert := range map[string]func(vs *networkingv1.VirtualService){
			"nothing": func(*networkingv1.VirtualService) {},
			"http":    func(vs *networkingv1.VirtualService) { vs.Spec.Http = w.vs.Spec.DeepCopy().GetHttp() },
			"tls":     func(vs *networkingv1.VirtualService) { vs.Spec.Tls = w.vs.Spec.DeepCopy().GetTls() },
			"tcp":     func(vs *networkingv1.VirtualService) { vs.Spec.Tcp = w.vs.Spec.DeepCopy().GetTcp() },
			"routes": func(vs *networkingv1.VirtualService) {
				c := w.vs.Spec.DeepCopy()
				vs.Spec.Http, vs.Spec.Tls, vs.Spec.Tcp = c.GetHttp(), c.GetTls(), c.GetTcp()
			},
			"routes and annotation": func(vs *networkingv1.VirtualService) {
				c := w.vs.Spec.DeepCopy()
				vs.Spec.Http, vs.Spec.Tls, vs.Spec.Tcp = c.GetHttp(), c.GetTls(), c.GetTcp()
				vs.Annotations = nil
			},
			"gateways":   func(vs *networkingv1.VirtualService) { vs.Spec.Gateways = w.vs.Spec.DeepCopy().GetGateways() },
			"exportTo":   func(vs *networkingv1.VirtualService) { vs.Spec.ExportTo = w.vs.Spec.DeepCopy().GetExportTo() },
			"annotation": func(vs *networkingv1.VirtualService) { vs.Annotations = nil },
		} {
			half := once.DeepCopy()
			revert(half)
			again := w.apply(t, half)
			require.Equal(t, text(once), text(again), "seed %d, %s reverted: before\n%s\nhalf\n%s", seed, name, text(w.vs), text(half))
		}
	}
	require.Greater(t, lifted, liftRounds/12)
}

// TestLiftIsFaithful: a lifted VirtualService has the own routes that it had, in their
// order, and no rule finds more in it than before.
func TestLiftIsFaithful(t *testing.T) {
	suite, err := analysis.NewSuite(All...)
	require.NoError(t, err)
	for seed := range uint64(liftRounds) {
		w := newLiftWorld(t, seed)
		before := map[string]bool{}
		for _, f := range analysis.Check(suite, w.in).Findings {
			before[f.Rule.Name] = true
		}
		once := w.apply(t, w.vs)
		in := w.in
		in.Object = once
		if isLifted(once) {
			for _, f := range analysis.Check(suite, in).Findings {
				require.True(t, before[f.Rule.Name], "seed %d: %s %s %v\n%s\n%s", seed, f.Rule.Name, f.Verdict.Action, f.Error, text(w.vs), text(once))
			}
			own := once.DeepCopy()
			var got []*networking.HTTPRoute
			for _, r := range own.Spec.GetHttp() {
				if len(r.GetName()) > 9 && r.GetName()[:10] == "sallyport-" {
					continue
				}
				got = append(got, r)
			}
			want := w.vs.DeepCopy().Spec.GetHttp()
			clean(got)
			clean(want)
			require.Len(t, got, len(want), "%d\n%s\n%s", seed, text(w.vs), text(once))
			for i := range got {
				require.True(t, proto.Equal(got[i], want[i]), "%d %s %s", seed, got[i], want[i])
			}
		}
	}
}

func clean(routes []*networking.HTTPRoute) {
	for _, r := range routes {
		r.Timeout, r.Retries = nil, nil
		for _, m := range r.GetMatch() {
			m.Gateways, m.Port = nil, 0
		}
		if len(r.GetMatch()) == 0 {
			r.Match = []*networking.HTTPMatchRequest{{}}
		}
		for _, d := range r.GetRoute() {
			d.Destination.Port = nil
		}
		if r.GetMirror() != nil {
			r.Mirror.Port = nil
		}
	}
}
