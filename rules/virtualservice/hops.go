// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"iter"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

// A hop is a destination that a VirtualService, or a delegate of it, leads to.
type hop struct {
	route.Forward
	// delegate is where the VirtualService names the delegate that the
	// destination is in, or nil.
	delegate *field.Path
	// host is the destination's, in normal form.
	host string
	// namespace is that of the VirtualService with the destination.
	namespace string
}

// at returns where a finding belongs: the destination's host, or the delegate.
func (h *hop) at() *field.Path {
	if h.delegate != nil {
		return h.delegate
	}
	return h.Path().Child("host")
}

// hops yields the destinations that get requests, on routes whose gateways are
// asked for. What a delegate adds is looked up, since its routes apply where the
// VirtualService that names it does; of one that is not known the rule cannot tell.
func hops(pass *analysis.Pass, vs *networkingv1.VirtualService, where func(gateways []string) bool) iter.Seq[hop] {
	return func(yield func(hop) bool) {
		for f := range route.Forwards(vs) {
			if where(f.Gateways) && !yieldHop(pass, f, nil, vs.GetNamespace(), yield) {
				return
			}
		}
		for path, part := range delegated(pass, vs, where) {
			for f := range route.Forwards(part) {
				if where(f.Gateways) && !yieldHop(pass, f, path, part.GetNamespace(), yield) {
					return
				}
			}
		}
	}
}

// onSidecars and onGateways ask for the routes of one or the other.
func onSidecars(gateways []string) bool { return slices.Contains(gateways, route.Mesh) }

func onGateways(gateways []string) bool {
	return slices.ContainsFunc(gateways, func(g string) bool { return g != route.Mesh })
}

func yieldHop(pass *analysis.Pass, f route.Forward, delegate *field.Path, namespace string, yield func(hop) bool) bool {
	h := host.Expand(f.Destination.GetHost(), namespace, pass.Config.Mesh.ClusterDomain)
	if h == "" || !f.Active {
		return true
	}
	return yield(hop{Forward: f, delegate: delegate, host: h, namespace: namespace})
}

// delegated yields the delegates of a VirtualService with the gateways that they
// apply to in its place, each once.
func delegated(pass *analysis.Pass, vs *networkingv1.VirtualService, where func([]string) bool) iter.Seq2[*field.Path, *networkingv1.VirtualService] {
	return func(yield func(*field.Path, *networkingv1.VirtualService) bool) {
		seen := map[string]bool{}
		unknown := false
		for i, r := range vs.Spec.GetHttp() {
			if r.GetDelegate() == nil {
				continue
			}
			namespace, name := r.GetDelegate().GetNamespace(), r.GetDelegate().GetName()
			if namespace == "" {
				namespace = vs.GetNamespace()
			}
			gateways := route.Gateways(vs, gatewaysOf(r.GetMatch()))
			key := strings.Join(append([]string{namespace, name}, gateways...), " ")
			if seen[key] || !where(gateways) {
				continue
			}
			seen[key] = true
			d, _ := pass.Mesh.Object(analysis.VirtualService, namespace, name).(*networkingv1.VirtualService)
			if d == nil {
				unknown = unknown || !pass.Mesh.Complete(analysis.VirtualService)
				continue
			}
			part := &networkingv1.VirtualService{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Spec:       networking.VirtualService{Gateways: gateways, Http: d.Spec.GetHttp()},
			}
			if !yield(httpPath.Index(i).Child("delegate"), part) {
				return
			}
		}
		if unknown {
			pass.NotEvaluated("the delegates of the routes are not known")
		}
	}
}

func gatewaysOf[M interface{ GetGateways() []string }](matches []M) [][]string {
	var all [][]string
	for _, m := range matches {
		all = append(all, m.GetGateways())
	}
	return all
}
