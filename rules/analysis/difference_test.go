// SPDX-License-Identifier: Apache-2.0

package analysis_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// difference returns the operations that make a spec of another one.
func difference(t *testing.T, before, after *networking.VirtualService) []analysis.Operation {
	t.Helper()
	m := &analysis.Mutator{Name: "mutate/test", Apply: analysis.To(func(edit *analysis.Edit, _ *networkingv1.VirtualService) {
		edit.Difference(nil, before, after)
	})}
	injections, failure := analysis.Mutate([]*analysis.Mutator{m}, analysis.Input{Object: new(networkingv1.VirtualService)})
	require.Nil(t, failure)
	ops, err := analysis.Patch(injections)
	require.NoError(t, err)
	return ops
}

func parse(t *testing.T, text string) *networking.VirtualService {
	t.Helper()
	spec := new(networking.VirtualService)
	require.NoError(t, protojson.Unmarshal([]byte(text), spec))
	return spec
}

func TestDifference(t *testing.T) {
	for _, test := range []struct{ name, before, after, want string }{
		{"none", `{"hosts":["a"]}`, `{"hosts":["a"]}`, `[]`},
		{"set a list", `{}`, `{"gateways":["mesh"]}`, `[{"op":"add","path":"/gateways","value":["mesh"]}]`},
		{"set messages", `{}`, `{"http":[{"name":"a"},{"timeout":"1.5s"}]}`, `[{"op":"add","path":"/http","value":[{"name":"a"},{"timeout":"1.500s"}]}]`},
		{
			"append", `{"exportTo":["."]}`, `{"exportTo":[".","b","c"]}`,
			`[{"op":"add","path":"/exportTo/1","value":"b"},{"op":"add","path":"/exportTo/2","value":"c"}]`,
		},
		{"other list", `{"gateways":["a","b"]}`, `{"gateways":["b"]}`, `[{"op":"replace","path":"/gateways","value":["b"]}]`},
		{"remove", `{"gateways":["a"],"hosts":["h"]}`, `{"hosts":["h"]}`, `[{"op":"remove","path":"/gateways"}]`},
		{
			"deep", `{"http":[{"route":[{"destination":{"host":"a"},"weight":1}]}]}`,
			`{"http":[{"route":[{"destination":{"host":"a","port":{"number":80}},"weight":1}]}]}`,
			`[{"op":"add","path":"/http/0/route/0/destination/port","value":{"number":80}}]`,
		},
		{"number", `{"http":[{"match":[{"port":80}]}]}`, `{"http":[{"match":[{"port":81}]}]}`, `[{"op":"replace","path":"/http/0/match/0/port","value":81}]`},
		{"duration", `{"http":[{"timeout":"1s"}]}`, `{"http":[{"timeout":"2s"}]}`, `[{"op":"replace","path":"/http/0/timeout","value":"2s"}]`},
		{
			"map", `{"http":[{"match":[{"sourceLabels":{"a":"b"}}]}]}`, `{"http":[{"match":[{"sourceLabels":{"a":"c"}}]}]}`,
			`[{"op":"replace","path":"/http/0/match/0/sourceLabels","value":{"a":"c"}}]`,
		},
		{
			"oneof", `{"http":[{"match":[{"uri":{"prefix":"/a"}}]}]}`, `{"http":[{"match":[{"uri":{"exact":"/a"}}]}]}`,
			`[{"op":"add","path":"/http/0/match/0/uri/exact","value":"/a"},{"op":"remove","path":"/http/0/match/0/uri/prefix"}]`,
		},
		{"shorter list of messages", `{"tls":[{},{}]}`, `{"tls":[{}]}`, `[{"op":"replace","path":"/tls","value":[{}]}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, after := parse(t, test.before), parse(t, test.after)
			ops, err := json.Marshal(difference(t, before, after))
			require.NoError(t, err)
			require.JSONEq(t, test.want, string(ops))
			patch, err := jsonpatch.DecodePatch(ops)
			require.NoError(t, err)
			patched, err := patch.Apply([]byte(test.before))
			require.NoError(t, err)
			require.True(t, proto.Equal(after, parse(t, string(patched))), "%s", patched)
		})
	}
}
