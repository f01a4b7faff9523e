// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

func TestPrune(t *testing.T) {
	tests := []struct {
		name           string
		kind           *analysis.Kind
		spec, kept     string
		unknown, wrong []string
	}{
		{"nothing", analysis.ServiceEntry, `null`, `null`, nil, nil},
		{"no object", analysis.ServiceEntry, `7`, `7`, nil, []string{"spec must be an object"}},
		{
			"what is known", analysis.ServiceEntry, `{"hosts":["a"],"ports":[{"number":1}],"resolution":"DNS"}`,
			`{"hosts":["a"],"ports":[{"number":1}],"resolution":"DNS"}`, nil, nil,
		},
		{"null values", analysis.ServiceEntry, `{"hosts":null,"ports":[null],"x":null}`, `{"hosts":null,"ports":[null]}`, []string{`unknown field "spec.x"`}, nil},
		{
			"the order is that of names", analysis.ServiceEntry, `{"z":1,"export_to":["."],"ports":[{"y":{"b":[1]}}],"hosts":[]}`, `{"ports":[{}],"hosts":[]}`,
			[]string{`unknown field "spec.export_to", did you mean "exportTo"?`, `unknown field "spec.ports[0].y"`, `unknown field "spec.z"`},
			nil,
		},
		{
			"maps keep all keys, and none of the fields in their values", analysis.VirtualService,
			`{"http":[{"match":[{"headers":{"a.b":{"exact":"c","x":1}},"sourceLabels":{"x":"y"}}]}]}`,
			`{"http":[{"match":[{"headers":{"a.b":{"exact":"c"}},"sourceLabels":{"x":"y"}}]}]}`,
			[]string{`unknown field "spec.http[0].match[0].headers[a.b].x"`},
			nil,
		},
		{
			"enums", analysis.ServiceEntry, `{"resolution":2,"location":"INSIDE"}`, `{"resolution":2,"location":"INSIDE"}`,
			[]string{
				`spec.location: unknown value "INSIDE", must be one of MESH_EXTERNAL, MESH_INTERNAL`,
				`spec.resolution: unknown value "2", must be one of NONE, STATIC, DNS, DNS_ROUND_ROBIN, DYNAMIC_DNS`,
			},
			nil,
		},
		{
			"other shapes", analysis.ServiceEntry, `{"hosts":"a","ports":[7],"location":[],"workloadSelector":{"labels":[]}}`,
			`{"hosts":"a","ports":[7],"location":[],"workloadSelector":{"labels":[]}}`, nil,
			[]string{"spec.hosts must be a list", "spec.location must be a single value", "spec.ports[0] must be an object", "spec.workloadSelector.labels must be an object"},
		},
		{"names that look like paths", analysis.ServiceEntry, `{"a.b":1,"c[0]":2,"":3}`, `{}`, []string{`unknown field "spec[]"`, `unknown field "spec[a.b]"`, `unknown field "spec[c[0]]"`}, nil},
		{"the CRDs' snake_case", analysis.VirtualService, `{"http":[{"mirror_percent":5}]}`, `{"http":[{"mirror_percent":5}]}`, nil, nil},
		{"a kind that is not Istio's", analysis.Service, `{"x":1}`, `{"x":1}`, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var spec any
			require.NoError(t, json.Unmarshal([]byte(tt.spec), &spec))
			fields, misfits := Prune(tt.kind, spec)
			var unknown, wrong []string
			for _, u := range fields {
				unknown = append(unknown, u.String())
			}
			for _, m := range misfits {
				wrong = append(wrong, m.Path.String()+" must be "+m.Want)
			}
			require.Equal(t, tt.unknown, unknown)
			require.Equal(t, tt.wrong, wrong)
			kept, err := json.Marshal(spec)
			require.NoError(t, err)
			require.JSONEq(t, tt.kept, string(kept))
		})
	}
}

func TestHas(t *testing.T) {
	for _, kind := range analysis.Kinds() {
		require.Equal(t, strings.HasSuffix(kind.Group, ".istio.io"), Has(kind), kind)
	}
}

func TestReduce(t *testing.T) {
	text := &jsonSchema{Type: "string"}
	n := reduce(&jsonSchema{Type: "object", Properties: map[string]*jsonSchema{
		"any":   {Type: "object", PreserveUnknown: true},
		"empty": {Type: "object"},
		"list":  {Type: "array", Items: text},
		"map":   {Type: "object", AdditionalProperties: text},
	}})
	require.JSONEq(t, `{"fields":{"any":{"any":true},"empty":{"fields":{}},"list":{"items":{}},"map":{"values":{}}}}`, string(encode(t, n)))
	p := new(pruner)
	p.value(nil, map[string]any{"any": map[string]any{"x": 1}, "empty": map[string]any{}}, n)
	require.Empty(t, p.unknown)
}

func TestNearest(t *testing.T) {
	known := []string{"exportTo", "hosts", "sni", "subjectAltNames"}
	tests := []struct{ in, want string }{
		{"export_to", "exportTo"},
		{"export-to", "exportTo"},
		{"EXPORTTO", "exportTo"},
		{"host", "hosts"},
		{"hotss", "hosts"},
		{"subject_alt_name", "subjectAltNames"},
		{"sn", "sni"},
		{"tls", ""},
		{"visibility", ""},
		{"", ""},
		{strings.Repeat("hosts", 100_000), ""},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, Nearest(tt.in, known), tt.in)
	}
}
