// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// seeds is how many random worlds there are.
const seeds = 400

// TestRoutesKeepTheirMeaning makes random objects. Whatever a team's own routes do
// with a request, they must do at the gateway when Sallyport has led them there; and
// what it has not led there, for which it must have said why, must be as it was.
func TestRoutesKeepTheirMeaning(t *testing.T) {
	var led, left, failures int
	for seed := range uint64(seeds) {
		if failures == 3 {
			t.Fatal("there may be more")
		}
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := newRandomWorld(t, seed)
			r.check(t)
			led += r.led
			left += r.left
			if t.Failed() {
				failures++
			}
		})
	}
	t.Logf("%d VirtualServices are led through the gateway, %d are not", led, left)
	if !testing.Short() && (led < seeds/3 || left < seeds/20) {
		t.Errorf("the test proves little: %d are led, %d are not", led, left)
	}
}

// A randomWorld is one with what is admitted of random objects.
type randomWorld struct {
	*world
	admission *admission
	raw       []analysis.Object
	led, left int
}

func newRandomWorld(t *testing.T, seed uint64) *randomWorld {
	t.Helper()
	g := newGenerator(seed)
	var parts []string
	for _, obj := range g.objects() {
		parts = append(parts, manifestOf(t, obj))
	}
	sections := map[string][]byte{
		"objects.yaml": []byte(strings.Join(parts, "\n---\n")),
		"calls":        []byte(callsTo(g.entries)),
	}
	addDefaults(t, sections, "testdata/random")
	r := &randomWorld{world: newWorld(t, sections)}
	r.admission = newAdmission(t, r.world)
	for _, doc := range documents(t, r.objects) {
		r.admission.admit(t, doc)
	}
	for _, doc := range documents(t, r.objects) {
		if i := slices.IndexFunc(r.admission.stored, func(o analysis.Object) bool { return nameOf(o) == nameOf(doc.Object) }); i >= 0 {
			doc.Object.SetCreationTimestamp(r.admission.stored[i].GetCreationTimestamp())
			r.raw = append(r.raw, doc.Object)
		}
	}
	return r
}

// callsTo returns calls to all ports of all hosts.
func callsTo(entries []*networkingv1.ServiceEntry) string {
	var calls strings.Builder
	for _, se := range entries {
		for _, p := range se.Spec.GetPorts() {
			address := fmt.Sprintf("%s:%d", se.Spec.GetHosts()[0], p.GetNumber())
			switch p.GetProtocol() {
			case "HTTP":
				for _, rest := range []string{"/", "/v1", "/v1/x", "/V2/y?q=1", "/old x-beta=1", "/part/x", "/v1/y method=POST", "/v2 x-beta=1 method=POST"} {
					fmt.Fprintf(&calls, "shop http://%s%s\nshop{app=web} http://%s%s\n", address, rest, address, rest)
				}
			case "TCP":
				fmt.Fprintf(&calls, "shop tcp://%s:%d\n", se.Spec.GetAddresses()[0], p.GetNumber())
			case "GRPC":
				fmt.Fprintf(&calls, "shop grpc://%s/v1/x method=POST\n", address)
			default:
				fmt.Fprintf(&calls, "shop tls://%s\nshop{app=web} tls://%s\n", address, address)
			}
		}
	}
	return calls.String()
}

func (r *randomWorld) check(t *testing.T) {
	t.Helper()
	for _, obj := range r.admission.changed {
		raw := r.raw[slices.IndexFunc(r.raw, func(o analysis.Object) bool { return nameOf(o) == nameOf(obj) })]
		for _, line := range newComplaints(complaint(t, raw), complaint(t, obj)) {
			t.Errorf("%s: istiod complains: %s", nameOf(obj), line)
		}
		r.checkStable(t, obj, raw)
	}
	without, with := newMesh(t, r.world, r.raw), newMesh(t, r.world, r.admission.stored)
	led, left := r.ledHosts(t)
	for _, c := range r.calls {
		host := hostOf(c)
		if led[host] && left[host] {
			continue // Sallyport has said of one that the other is used
		}
		r.compare(t, c, without, with, led[host])
	}
	with.checkValid(t)
	with.checkServerNames(t)
	without.gateway()
	before := without.dangling(t)
	for _, name := range with.dangling(t) {
		if !slices.Contains(before, name) {
			t.Errorf("a new route to a cluster that there is not: %s", name)
		}
	}
	if t.Failed() {
		t.Logf("objects:\n%s\n%s", r.objects, r.describeStored(t))
	}
}

func (r *randomWorld) describeStored(t *testing.T) string {
	t.Helper()
	var all []string
	for _, obj := range r.admission.stored {
		all = append(all, manifestOf(t, obj))
	}
	return "stored:\n" + strings.Join(all, "\n") + fmt.Sprintf("\n%q", r.admission.findings)
}

// ledHosts returns the hosts of the VirtualServices that are led through the
// gateway, and of the others. Of these Sallyport must say why, unless somebody has opted out.
func (r *randomWorld) ledHosts(t *testing.T) (led, left map[string]bool) {
	t.Helper()
	led, left = map[string]bool{}, map[string]bool{}
	for _, obj := range r.admission.stored {
		vs, ok := obj.(*networkingv1.VirtualService)
		if !ok || len(vs.Spec.GetHosts()) == 0 {
			continue
		}
		if slices.ContainsFunc(vs.Spec.GetGateways(), isEgress) && slices.Contains(r.admission.changed, obj) {
			r.led++
			for _, h := range vs.Spec.GetHosts() {
				led[h] = true
			}
			continue
		}
		r.left++
		for _, h := range vs.Spec.GetHosts() {
			left[h] = true
		}
		reasons := strings.Join(r.admission.findings[nameOf(vs)], "\n")
		if forwards(vs) && vs.Annotations["sallyport.dev/inject"] == "" && vs.Spec.GetGateways() == nil && !strings.Contains(reasons, bypass) {
			t.Errorf("%s is not led through the gateway, and Sallyport does not say why: %q", nameOf(vs), reasons)
		}
	}
	return led, left
}

// hostOf returns the host of a call, which for TCP has only an address.
func hostOf(c *call) string {
	if number, ok := strings.CutPrefix(c.host, addresses); ok {
		return "h" + number + ".example.com"
	}
	return c.host
}

func isEgress(gateway string) bool { return strings.HasPrefix(gateway, "istio-egress/") }

// forwards reports whether a VirtualService leads anywhere, rather than to answer
// requests by itself.
func forwards(vs *networkingv1.VirtualService) bool {
	return len(vs.Spec.GetTls())+len(vs.Spec.GetTcp()) > 0 || slices.ContainsFunc(vs.Spec.GetHttp(), func(r *networking.HTTPRoute) bool {
		return len(r.GetRoute()) > 0 || r.GetDelegate() != nil
	})
}

var external = regexp.MustCompile(`\bdirect `)

// compare fails unless a call does the same in both meshes, in the second at the
// gateway if it is led there.
func (r *randomWorld) compare(t *testing.T, c *call, without, with *meshNow, led bool) {
	t.Helper()
	before, after := without.outcome(c), with.outcome(c)
	if strings.Contains(before, "no cluster") || strings.HasPrefix(before, "gateway -> no ") {
		return // what did not work may do now
	}
	want := before
	switch {
	case strings.HasPrefix(before, "gateway"): // by hand
	case led && strings.HasSuffix(before, "Cluster"): // routes for other hosts had hidden this one
		want = fmt.Sprintf("gateway -> outbound|%d||%s", c.port, c.host)
	case led:
		want = "gateway -> " + external.ReplaceAllString(before, "")
	}
	if after != want {
		t.Errorf("%s\nwithout %s\n   with %s", c.text, before, after)
	}
	if after != want || strings.HasSuffix(before, "Cluster") {
		return
	}
	diff := cmp.Diff(without.effects(c), with.effects(c), protocmp.Transform())
	if diff != "" {
		t.Errorf("%s: the route does something else:\n%s", c.text, diff)
	}
	with.checkPatience(t, c)
}

// effects returns what the last route does with a call, without what names proxies,
// clusters and matches.
func (m *meshNow) effects(c *call) *route.Route {
	h, _ := m.throughGateway(c)
	if h.route == nil {
		return nil
	}
	r := proto.CloneOf(h.route)
	r.Name, r.Match, r.Metadata, r.Decorator = "", nil, nil, nil
	return r
}

// newComplaints returns what istiod says of an object only once Sallyport has changed
// it. That a route is not used it may find out then only: matches with a port and
// without one are the same at the gateway.
func newComplaints(before, after error) []string {
	if before != nil || after == nil {
		return nil
	}
	return slices.DeleteFunc(strings.Split(after.Error(), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "" || strings.Contains(line, "errors occurred") || strings.Contains(line, "not used")
	})
}

// throughGateway returns the last hop of a call, and whether it is the gateway.
func (m *meshNow) throughGateway(c *call) (last hop, ok bool) {
	h := m.arrive(m.sidecar(c), c.connection(), c)
	if len(h.targets) != 1 {
		return h, false
	}
	if _, ok := m.gatewayPort(h.proxy, h.targets[0].cluster); !ok {
		return h, false
	}
	return m.arrive(m.gateway(), m.next(c, &h, h.targets[0]), c), true
}

// checkStable fails if another application changes an object again, or if what is
// left when the team applies its file again does not become the same.
func (r *randomWorld) checkStable(t *testing.T, obj, raw analysis.Object) {
	t.Helper()
	want := withoutAge(t, obj)
	for name, fields := range map[string]map[string]any{
		"again":         fieldsOf(t, obj),
		"half reverted": overlay(fieldsOf(t, obj), fieldsOf(t, raw), "http", "tls", "tcp"),
		"reapplied":     overlay(fieldsOf(t, obj), fieldsOf(t, raw), "http", "tls", "tcp", "gateways", "exportTo", "hosts"),
	} {
		got := r.mutate(t, obj, fields)
		if diff := cmp.Diff(want, withoutAge(t, got)); diff != "" {
			t.Errorf("%s, %s, want (-) and got (+):\n%s", nameOf(obj), name, diff)
		}
	}
}

// overlay returns stored with the named parts of the spec as in applied, where that
// has them.
func overlay(stored, applied map[string]any, names ...string) map[string]any {
	spec, other := stored["spec"].(map[string]any), applied["spec"].(map[string]any)
	for _, name := range names {
		if value, ok := other[name]; ok {
			spec[name] = value
		}
	}
	return stored
}

func (r *randomWorld) mutate(t *testing.T, obj analysis.Object, fields map[string]any) analysis.Object {
	t.Helper()
	docs := documents(t, []byte(manifestOfFields(t, obj, fields)))
	require.Len(t, docs, 1)
	in := analysis.Input{
		Object: docs[0].Object, Policy: r.policyFor(obj.GetNamespace()), Config: r.config, Mesh: r.admission.index, Now: now,
	}
	_, failure := analysis.Mutate(rules.Mutators, in)
	require.Nil(t, failure)
	return docs[0].Object
}
