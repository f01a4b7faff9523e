// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// FuzzCheck (R28): no object makes a rule panic, whatever else is in the mesh; and the
// verdict does not depend on the order in which the mesh was told.
func FuzzCheck(f *testing.F) {
	suite, err := analysis.NewSuite(All...)
	require.NoError(f, err)
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		in := analysis.Input{Object: g.object(), Policy: g.policy(), Config: g.config(t), Now: time.Unix(0, 0)}
		if g.IntN(3) == 0 {
			in.Old = g.like(in.Object)
		}
		var others []analysis.Object
		for range g.IntN(12) {
			others = append(others, g.object())
		}
		complete := g.IntN(3) > 0
		var texts []string
		for range 2 {
			index := mesh.New(in.Config)
			for _, i := range g.Perm(len(others)) {
				index.Set(others[i])
			}
			if complete {
				index.SetComplete(analysis.Kinds()...)
			}
			in.Mesh = index
			res := analysis.Check(suite, in)
			require.Empty(t, res.Panics)
			texts = append(texts, describe(res))
		}
		require.Equal(t, texts[0], texts[1])
	})
}

// FuzzDocument: no document makes a rule panic. It begins with the cases.
func FuzzDocument(f *testing.F) {
	suite, err := analysis.NewSuite(All...)
	require.NoError(f, err)
	files, err := fs.Glob(Cases, "*/testdata/*.txtar")
	require.NoError(f, err)
	for i, file := range files {
		data, err := Cases.ReadFile(file)
		require.NoError(f, err)
		if sections := txtar.Parse(data).Files; i%4 == 0 {
			f.Add(sections[len(sections)-1].Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for doc, err := range manifest.Documents("fuzz", strings.NewReader(string(data))) {
			if err != nil || doc.Object == nil {
				continue
			}
			res := analysis.Check(suite, analysis.Input{Object: doc.Object, Old: doc.Object, Unknown: doc.Unknown})
			require.Empty(t, res.Panics)
		}
	})
}

func describe(res analysis.Result) string {
	var b strings.Builder
	for _, f := range res.Findings {
		fmt.Fprintln(&b, f.Rule.Name, f.Verdict.Action, f.Error)
	}
	for _, n := range res.NotEvaluated {
		fmt.Fprintln(&b, n.Rule.Name, n.Reason)
	}
	return b.String()
}

// A generator makes random objects of what means something to rules.
type generator struct{ *rand.Rand }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

var words = []string{
	"", "*", ".", "~", "mesh", "a", "b", "shop", "istio-egress", "istio-system", "reviews", "reviews.b", "reviews.b.svc", "reviews.b.svc.cluster.local", "*.svc.cluster.local",
	"api.example.com", "API.Example.com.", "www.example.com", "*.example.com", "*example.com", "*.com", "example.com", "com", "egress.istio-egress.svc.cluster.local",
	"10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::ffff:10.0.0.1", "::/0", "169.254.169.254", "127.0.0.1", "unix:///x", "istio-egress/egress", "./egress", "egress.istio-egress",
	"HTTP", "http2", "TLS", "TCP", "HTTPS", "5xx,reset", "connect-failure", "%REQ(cookie)%", "%", "%%", "authorization", "host", "connection.sni", "source.namespace",
	"destination.port", "request.headers[x]", "443", "egressgateway", "ServiceEntry", "Gateway", "networking.istio.io", "e0", "e1", "GET", "x-forwarded-for",
}

func (g generator) object() analysis.Object {
	kind := pick(g, analysis.Kinds()...)
	obj := kind.New()
	obj.SetName(fmt.Sprintf("e%d", g.IntN(4)))
	obj.SetNamespace(pick(g, "a", "b", "shop", "istio-egress", "istio-system"))
	if kind.ClusterScoped {
		obj.SetName(obj.GetNamespace())
		obj.SetNamespace("")
	}
	if g.IntN(2) == 0 {
		obj.SetCreationTimestamp(metav1.NewTime(time.Unix(int64(g.IntN(3)), 0)))
	}
	if g.IntN(3) == 0 {
		obj.SetLabels(map[string]string{pick(g, "istio.io/use-waypoint", "istio.io/dataplane-mode", "istio"): pick(g, "waypoint", "none", "ambient", "egressgateway")})
	}
	switch spec := kind.Spec(obj).(type) {
	case proto.Message:
		g.fill(spec.ProtoReflect(), 0)
	case *corev1.ServiceSpec:
		spec.ClusterIP = pick(g, "10.0.0.1", "None", "")
	}
	return obj
}

// like returns a random object of the same kind and name.
func (g generator) like(obj analysis.Object) analysis.Object {
	old := analysis.KindOf(obj).New()
	old.SetName(obj.GetName())
	old.SetNamespace(obj.GetNamespace())
	if spec, ok := analysis.KindOf(obj).Spec(old).(proto.Message); ok {
		g.fill(spec.ProtoReflect(), 0)
	}
	return old
}

func (g generator) fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		if g.IntN(3) == 0 || depth > 6 {
			continue
		}
		switch {
		case fd.IsMap():
			for range g.IntN(3) {
				value := m.Mutable(fd).Map().NewValue()
				if fd.MapValue().Message() == nil {
					value = g.value(fd.MapValue())
				} else {
					g.fill(value.Message(), depth+1)
				}
				m.Mutable(fd).Map().Set(protoreflect.ValueOfString(pick(g, words...)).MapKey(), value)
			}
		case fd.IsList():
			for range g.IntN(4) {
				value := m.Mutable(fd).List().NewElement()
				if fd.Message() == nil {
					value = g.value(fd)
				} else {
					g.fill(value.Message(), depth+1)
				}
				m.Mutable(fd).List().Append(value)
			}
		case fd.Message() != nil:
			g.fill(m.Mutable(fd).Message(), depth+1)
		default:
			m.Set(fd, g.value(fd))
		}
	}
}

func (g generator) value(fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(pick(g, words...))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(nil)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(g.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(g.IntN(fd.Enum().Values().Len() + 1)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(pick(g, 0, 0.5, 100))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(pick[float32](g, 0, 1))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(pick[uint32](g, 0, 80, 443, 15000))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(pick[uint64](g, 0, 1))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(pick[int64](g, 0, 1, 1e9))
	default:
		return protoreflect.ValueOfInt32(pick[int32](g, 0, 1, 100))
	}
}

func (g generator) policy() *policy.Policy {
	pol := *policy.Default()
	pol.Unlisted = pick(g, policy.AllowUnlisted, policy.DenyUnlisted)
	pol.Gateway.Mode = pick(g, policy.ModeOff, policy.ModeInject, policy.ModeRequire)
	pol.Waypoint.Mode = pick(g, policy.ModeOff, policy.ModeRequire)
	if g.IntN(2) == 0 {
		pol.AllowedHosts = []policy.AllowedHost{{Host: "*.example.com", Ports: []uint32{443}}}
		pol.DeniedHosts = []string{"www.example.com"}
		pol.ReservedHosts = []policy.ReservedHost{{Host: "api.example.com", Policy: "other"}}
	}
	return &pol
}

func (g generator) config(t *testing.T) *config.Configuration {
	t.Helper()
	meshes := []string{
		`{}`,
		`{"dataPlane": "Ambient", "clusterCIDRs": ["10.0.0.0/8"]}`,
		`{"egressGateways": [{"name": "default", "gateway": "istio-egress/egress", "service": "egress.istio-egress.svc.cluster.local"}]}`,
	}
	data, err := json.Marshal(map[string]any{
		"apiVersion": config.APIVersion, "kind": config.Kind, "mesh": json.RawMessage(meshes[g.IntN(len(meshes))]),
	})
	require.NoError(t, err)
	c, err := config.Parse(data)
	require.NoError(t, err)
	return c
}
