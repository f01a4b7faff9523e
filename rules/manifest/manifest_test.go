// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kyaml "sigs.k8s.io/yaml"
)

var serviceEntryV1 = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "ServiceEntry"}

func TestDecode(t *testing.T) {
	object := func(version, kind string) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"networking.istio.io/%s","kind":"%s","metadata":{"name":"a"},"spec":{"hosts":["a.example.com"],"x":1}}`, version, kind)
	}
	for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
		gvk := serviceEntryV1
		gvk.Version = version
		obj, err := Decode(gvk, object(version, "ServiceEntry"))
		require.NoError(t, err)
		require.Equal(t, []string{"a.example.com"}, obj.(*networkingv1.ServiceEntry).Spec.GetHosts())
		require.Equal(t, gvk, obj.GetObjectKind().GroupVersionKind())
	}
	tests := []struct {
		name string
		gvk  schema.GroupVersionKind
		raw  []byte
		err  error
		says string
	}{
		{"a kind nobody knows", schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, object("v1", "Pod"), ErrUnknownKind, "Kind=Pod"},
		{"a version that is not served", serviceEntryV1.GroupKind().WithVersion("v2"), object("v2", "ServiceEntry"), ErrUnknownKind, "v2"},
		{"another kind", serviceEntryV1, object("v1", "VirtualService"), ErrKindMismatch, "VirtualService"},
		{"another version", serviceEntryV1, object("v1beta1", "ServiceEntry"), ErrKindMismatch, "v1beta1"},
		{"a field of the wrong type", serviceEntryV1, bytes.Replace(object("v1", "ServiceEntry"), []byte(`["a.example.com"]`), []byte(`7`), 1), nil, "cannot unmarshal number"},
		{"null", serviceEntryV1, []byte("null"), ErrKindMismatch, ""},
		{"nothing", serviceEntryV1, nil, nil, "unexpected end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(tt.gvk, tt.raw)
			require.ErrorContains(t, err, tt.says)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
		})
	}
}

// read returns what Documents yields: for a document its kind and name, then
// its problems and what is unknown; for an error its text.
func read(text string) (docs []*Document, lines []string) {
	for doc, err := range Documents("f.yaml", strings.NewReader(text)) {
		switch {
		case err != nil:
			lines = append(lines, err.Error())
		case doc.Object == nil:
			lines = append(lines, doc.GVK.Kind+" (unrelated)")
		default:
			lines = append(lines, doc.GVK.Kind+" "+doc.Object.GetName())
			for _, p := range doc.Problems {
				lines = append(lines, p.Error())
			}
			for _, u := range doc.Unknown {
				at, _ := doc.Position(u.Path.String())
				lines = append(lines, fmt.Sprintf("f.yaml:%d:%d: %s", at.Line, at.Column, u))
			}
		}
		docs = append(docs, doc)
	}
	return docs, lines
}

const head = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\n"

func TestDocuments(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"comments and empty documents", "# a\n---\n\n---\n# b\n---\nnull\n", nil},
		{"one", head, []string{"ServiceEntry a"}},
		{"several", head + "---\n" + head + "--- # and\n" + head, []string{"ServiceEntry a", "ServiceEntry a", "ServiceEntry a"}},
		{"CRLF and a BOM", "\ufeff" + strings.ReplaceAll(head+"---\n"+head, "\n", "\r\n"), []string{"ServiceEntry a", "ServiceEntry a"}},
		{"JSON", `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"a"}}`, []string{"ServiceEntry a"}},
		{"unrelated kinds", "apiVersion: v1\nkind: ConfigMap\n---\n" + head, []string{"ConfigMap (unrelated)", "ServiceEntry a"}},
		{"dashes in a block scalar are text", head + "spec:\n  hosts:\n  - |-\n    ---\n", []string{"ServiceEntry a"}},
		{
			"a List, and a list in it",
			"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: networking.istio.io/v1beta1, kind: ServiceEntry, metadata: {name: a}}\n" +
				"- apiVersion: networking.istio.io/v1\n  kind: VirtualServiceList\n  items:\n  - {apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: b}}\n",
			[]string{"ServiceEntry a", "VirtualService b"},
		},
		{"an empty List", "apiVersion: v1\nkind: List\nitems: []\n", nil},
		{
			"an anchor and a merge key", "x: &m {name: a}\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  <<: *m\n  namespace: b\n",
			[]string{"ServiceEntry a", `f.yaml:1:1: unknown field "x"`},
		},
		{"a fault does not hide the next document", "a: [\n---\n" + head, []string{"f.yaml:1:1: did not find expected node content", "ServiceEntry a"}},
		{"a template", "{{- if .Values.x }}\n" + head + "{{- end }}\n", []string{"f.yaml:1:1: did not find expected node content; templates must be rendered first, as by 'helm template'"}},
		{"a duplicate key", head + "spec:\n  hosts: [a.example.com]\n  hosts: [b.example.com]\n", []string{`f.yaml:6:3: duplicate key "hosts"`}},
		{"a duplicate key behind a separator", head + "---\n" + head + "kind: ServiceEntry\n", []string{"ServiceEntry a", `f.yaml:8:1: duplicate key "kind"`}},
		{"no object", "- a\n", []string{"f.yaml:1:1: the document is no object"}},
		{"no kind", "a: b\n", []string{"f.yaml:1:1: the document has no apiVersion and kind"}},
		{"a version that is not served", strings.Replace(head, "/v1", "/v2", 1), []string{"f.yaml:1:13: ServiceEntry has no version v2, only v1, v1beta1, v1alpha3"}},
		{
			"unknown fields", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetdata: {}\nspec:\n  export_to: [.]\n  ports:\n  - {number: 1, namme: a}\n  wat: 1\n",
			[]string{
				"ServiceEntry ",
				`f.yaml:3:1: unknown field "metdata", did you mean "metadata"?`,
				`f.yaml:5:14: unknown field "spec.export_to", did you mean "exportTo"?`,
				`f.yaml:7:24: unknown field "spec.ports[0].namme", did you mean "name"?`,
				`f.yaml:8:8: unknown field "spec.wat"`,
			},
		},
		{
			"enums", head + "spec:\n  resolution: 2\n  location: mesh_external\n",
			[]string{
				"ServiceEntry a",
				"f.yaml:6:13: spec.location: unknown value \"mesh_external\", must be one of MESH_EXTERNAL, MESH_INTERNAL",
				"f.yaml:5:15: spec.resolution: unknown value \"2\", must be one of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS",
			},
		},
		{
			"the CRD's one snake_case name", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  http:\n  - mirror_percent: 5\n    rewrite_uri: a\n",
			[]string{"VirtualService a", `f.yaml:7:18: unknown field "spec.http[0].rewrite_uri"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := read(tt.text)
			require.Equal(t, tt.want, got)
		})
	}
}

// TestDecodeAsIstio: whatever Istio's decoder reads is read alike.
func TestDecodeAsIstio(t *testing.T) {
	for _, spec := range []string{
		`{"http":[{"timeout":"1500ms"}]}`, `{"http":[{"timeout":"1h30m"}]}`, `{"http":[{"timeout":"1.5s","retries":{}}]}`,
		`{"http":[{"retries":{"attempts":"3"}}]}`, `{"http":[{"mirror_percent":5}]}`, `{"http":[{"mirrorPercentage":{"value":0.5}}]}`,
		`{"export_to":["."]}`, `{"hosts":null,"x":{"y":[1]}}`, `{}`, `null`, `{"http":[{"match":[{"uri":{"prefix":"/a"}}]}]}`,
		`{"http":[{"timeout":"1"}]}`, `{"hosts":"a"}`, `[]`, `{"http":[null]}`, `{"http":[{"match":[{"port":4294967296}]}]}`,
	} {
		raw := fmt.Sprintf(`{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","spec":%s}`, spec)
		want := new(networkingv1.VirtualService)
		wantErr := json.Unmarshal([]byte(raw), want)
		got, err := Decode(serviceEntryV1.GroupVersion().WithKind("VirtualService"), []byte(raw))
		if wantErr != nil {
			require.Error(t, err, spec)
			continue
		}
		require.NoError(t, err, spec)
		require.True(t, proto.Equal(&want.Spec, &got.(*networkingv1.VirtualService).Spec), spec)
	}
}

func TestUndecodableDocument(t *testing.T) {
	tests := []struct{ spec, want string }{
		{"hosts: 7", "f.yaml:6:10: spec.hosts must be a list"},
		{"hosts: [[a]]", "f.yaml:6:11: spec.hosts[0] must be a single value"},
		{"ports: [443]", "f.yaml:6:11: spec.ports[0] must be an object"},
		{"workloadSelector: {labels: [a]}", "f.yaml:6:30: spec.workloadSelector.labels must be an object"},
		{"resolution: [DNS]", "f.yaml:6:15: spec.resolution must be a single value"},
		{"resolution: true", "f.yaml:6:15: spec.resolution: unknown value \"true\""},
		{"ports: [{number: many}]", "f.yaml:2:1: ServiceEntry cannot be decoded: "},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			_, got := read("# a\n" + head + "spec:\n  " + tt.spec + "\n---\n" + head)
			require.Len(t, got, 2)
			require.True(t, strings.HasPrefix(got[0], tt.want), got[0])
			require.Equal(t, "ServiceEntry a", got[1])
		})
	}
}

func TestPosition(t *testing.T) {
	const text = `# first
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: a
  annotations:
    example.com/a.b: "yes"
spec:
  hosts:
  - a.example.com
  - "*.example.com"
  ports: &ports
  - {number: 443, name: tls}
  endpoints:
  - address: 192.0.2.1
    ports:
      tls: 8443
  subjectAltNames: [a, b]
`
	docs, _ := read(text)
	require.Len(t, docs, 1)
	tests := []struct {
		path                string
		line, column, width int
	}{
		{"spec.hosts[1]", 12, 5, 15},
		{"spec.hosts", 10, 3, 5},
		{"spec.ports[0].number", 14, 14, 3},
		{"spec.endpoints[0].ports[tls]", 18, 12, 4},
		{"spec.subjectAltNames[1]", 19, 24, 1},
		{"metadata.annotations[example.com/a.b]", 8, 22, 5},
		{"spec.resolution", 9, 1, 4},
		{"spec.ports[0].protocol", 14, 5, 1},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got, ok := docs[0].Position(tt.path)
			require.True(t, ok)
			require.Equal(t, Position{Line: tt.line, Column: tt.column, Width: tt.width}, got)
		})
	}
	for _, nowhere := range []string{"spec.Hosts[1]", "spec.hosts[2].x", "status.a.b"} {
		_, ok := docs[0].Position(nowhere)
		require.False(t, ok, nowhere)
	}
	require.Equal(t, `  - "*.example.com"`, docs[0].SourceLine(12))
	require.Empty(t, docs[0].SourceLine(100))
	require.Empty(t, docs[0].SourceLine(1))
}

// TestPositionBehindAlias: what an alias stands for is at its anchor.
func TestPositionBehindAlias(t *testing.T) {
	docs, _ := read("x: &hosts\n- a.example.com\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nspec:\n  hosts: *hosts\n")
	got, ok := docs[0].Position("spec.hosts[0]")
	require.True(t, ok)
	require.Equal(t, 2, got.Line)
	require.Equal(t, []string{"a.example.com"}, docs[0].Object.(*networkingv1.ServiceEntry).Spec.GetHosts())
}

// TestValuesAreKubectls: scalars mean what they mean to kubectl.
func TestValuesAreKubectls(t *testing.T) {
	for _, scalar := range []string{
		"a", "yes", "Off", "y", "true", "True", "null", "~", "", "0", "-1", "0777", "0o17", "0x1F", "1_000", "1e3", ".5", "1.0", "1.31",
		"2026-01-01", "12:30:45", "190:20", "'1'", `"yes"`, `"a\u00e9\n"`, "é", "1.2.3.4", "::1", "<<", "=", "*.a", "!!str 1", "9007199254740993", "123456789012345678901",
		"|\n  a\n  b", ">-\n  a\n  b", "[a, yes]", "{on: 1}", "{1: a}", "+1", "-", ".", "..", ".inf", ".nan", "0b1", "a: b", "0.0.0.0/0",
	} {
		text := head + "x: " + scalar + "\n"
		want, wantErr := kyaml.YAMLToJSON([]byte(text))
		docs, _ := read(text)
		if wantErr != nil {
			require.Nil(t, docs[0], scalar)
			continue
		}
		require.NotNil(t, docs[0], scalar)
		require.JSONEq(t, string(want), string(docs[0].Raw), scalar)
	}
}

func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	_, got := read(head + b.String())
	require.Len(t, got, 1)
	require.Contains(t, got[0], "excessive aliasing")
}

func FuzzDocuments(f *testing.F) {
	f.Add(head + "spec:\n  hosts: [a]\n---\n" + head)
	f.Add("apiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(head, "\n", "\n  "))
	f.Add("a: &a [*a]\n")
	f.Add("{\"a\":[1,2,{\"b\":null}]}")
	f.Add("- !!binary x\n...\n%YAML 1.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		for doc, err := range Documents("f", strings.NewReader(text)) {
			if err != nil {
				e, ok := errors.AsType[*Error](err)
				require.True(t, ok, err)
				require.True(t, e.Line >= 1 && e.Line <= lines, "line %d of %d: %s", e.Line, lines, e)
				continue
			}
			require.True(t, json.Valid(doc.Raw))
			if doc.Object == nil {
				continue
			}
			again, err := Decode(doc.GVK, doc.Raw)
			if len(doc.Unknown) > 0 {
				continue // the API server keeps another object
			}
			require.NoError(t, err)
			a, err := json.Marshal(again)
			require.NoError(t, err)
			b, err := json.Marshal(doc.Object)
			require.NoError(t, err)
			require.Equal(t, string(a), string(b))
		}
	})
}

func BenchmarkDocuments(b *testing.B) {
	text := strings.Repeat(head+"spec:\n  hosts: [api.example.com]\n  location: MESH_EXTERNAL\n  resolution: DNS\n  ports:\n  - number: 443\n    name: https\n    protocol: HTTPS\n---\n", 100)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range Documents("f", strings.NewReader(text)) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 100 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/document")
}
