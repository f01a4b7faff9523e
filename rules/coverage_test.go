// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// ignored are the fields of Istio's messages at which no rule looks, and why that
// is safe. A name that ends in ".*" stands for all fields of a message.
var ignored = map[string]string{
	"istio.networking.v1alpha3.CorsPolicy.*":                            "tells browsers which pages may call; sends nothing anywhere",
	"istio.networking.v1alpha3.HTTPRoute.CorsPolicy":                    "as CorsPolicy",
	"istio.networking.v1alpha3.HTTPBody.*":                              "an answer to the client, made by the proxy",
	"istio.networking.v1alpha3.HTTPDirectResponse.*":                    "an answer to the client, made by the proxy",
	"istio.networking.v1alpha3.HTTPFaultInjection.Abort.*":              "an answer to the client, made by the proxy",
	"istio.networking.v1alpha3.HTTPFaultInjection.Delay.*":              "how long a request is delayed",
	"istio.networking.v1alpha3.Headers.Response":                        "headers that the client gets, not the destination",
	"istio.networking.v1alpha3.Headers.HeaderOperations.Remove":         "takes away, and gives nothing",
	"istio.networking.v1alpha3.HTTPMatchRequest.*":                      "narrows a route down; rules judge where it leads for any request",
	"istio.networking.v1alpha3.HTTPRewrite.Uri":                         "a path, not a host",
	"istio.networking.v1alpha3.HTTPRewrite.UriRegexRewrite":             "a path, not a host",
	"istio.networking.v1alpha3.RegexRewrite.*":                          "a path, not a host",
	"istio.networking.v1alpha3.HTTPRedirect.*":                          "the client's next request, which is judged itself; its host and scheme are read",
	"istio.networking.v1alpha3.HTTPRetry.Backoff":                       "pauses between tries",
	"istio.networking.v1alpha3.HTTPRetry.RetryIgnorePreviousHosts":      "which endpoint of one host is tried",
	"istio.networking.v1alpha3.HTTPRetry.RetryRemoteLocalities":         "which endpoint of one host is tried",
	"istio.networking.v1alpha3.WorkloadEntry.Locality":                  "where an endpoint runs, for load balancing",
	"istio.networking.v1alpha3.WorkloadEntry.ServiceAccount":            "the identity that clients expect of an endpoint inside the mesh",
	"istio.security.v1beta1.AuthorizationPolicy.Provider":               "an external authorizer of MeshConfig; istiod lets CUSTOM policies alone name one",
	"istio.networking.v1alpha3.WorkloadEntry.Labels":                    "which subset an endpoint belongs to, and telemetry",
	"istio.networking.v1alpha3.ServicePort.Name":                        "a name for the port; unlike a Service's it tells no protocol",
	"istio.security.v1beta1.AuthorizationPolicy.ExtensionProvider.Name": "as Provider",
	"istio.type.v1beta1.PolicyTargetReference.Namespace":                "istiod refuses references to other namespaces",
}

// TestFieldCoverage (R27): when Istio gets a new field that may lead somewhere, a rule
// reads it or somebody says why not. It goes by the getters that the rules call.
func TestFieldCoverage(t *testing.T) {
	read := getters(t)
	seen := map[string]bool{}
	for _, kind := range []*analysis.Kind{analysis.ServiceEntry, analysis.VirtualService, analysis.AuthorizationPolicy} {
		walk(kind.Spec(kind.New()).(proto.Message).ProtoReflect().Descriptor(), seen)
	}
	used := map[string]bool{}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range seen {
			if !yield(name) {
				return
			}
		}
	}) {
		message := name[:strings.LastIndexByte(name, '.')] + ".*"
		_, byName := ignored[name]
		_, byMessage := ignored[message]
		switch {
		case isRead(read, name) && byName:
			t.Errorf("%s is read: it need not be ignored", name)
		case isRead(read, name):
		case byName:
			used[name] = true
		case byMessage:
			used[message] = true
		default:
			t.Errorf("%s is read by no rule: read it, or say in ignored why not", name)
		}
	}
	for name := range ignored {
		if !used[name] {
			t.Errorf("%s is ignored, but there is no such field that is not read", name)
		}
	}
}

func isRead(read map[string]bool, name string) bool {
	return read[name] || read[anyMessage+name[strings.LastIndexByte(name, '.')+1:]]
}

// walk collects the names of all fields of a message and of those in it.
func walk(message protoreflect.MessageDescriptor, seen map[string]bool) {
	for i := range message.Fields().Len() {
		f := message.Fields().Get(i)
		name := string(message.FullName()) + "." + camelCase(string(f.Name()))
		if seen[name] || strings.HasPrefix(string(message.FullName()), "google.") {
			continue
		}
		seen[name] = true
		if f.IsMap() {
			f = f.MapValue()
		}
		if f.Message() != nil {
			walk(f.Message(), seen)
		}
	}
}

func camelCase(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// getters returns the fields whose getters the code below
// this folder calls.
func getters(t *testing.T) map[string]bool {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
	}, "./...")
	require.NoError(t, err)
	require.Greater(t, len(loaded), 10)
	called := map[string]bool{}
	for _, p := range loaded {
		require.Empty(t, p.Errors)
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				if selector, ok := n.(*ast.SelectorExpr); ok {
					if f, ok := p.TypesInfo.Uses[selector.Sel].(*types.Func); ok {
						called[getterName(f)] = true
					}
				}
				return true
			})
		}
	}
	return called
}

// anyMessage stands for the messages whose getter is called through an interface.
const anyMessage = "any."

// getterName returns the message and the field, as its getter spells it, of a
// method of one of Istio's messages.
func getterName(f *types.Func) string {
	receiver := f.Signature().Recv()
	if receiver == nil || !strings.HasPrefix(f.Name(), "Get") {
		return ""
	}
	if types.IsInterface(receiver.Type()) && strings.HasPrefix(f.Pkg().Path(), "github.com/sallyport-dev/") {
		return anyMessage + strings.TrimPrefix(f.Name(), "Get")
	}
	name, ok := strings.CutPrefix(types.TypeString(receiver.Type(), nil), "*istio.io/api/")
	if !ok {
		return ""
	}
	return "istio." + strings.NewReplacer("/", ".", "_", ".").Replace(name) + "." + strings.TrimPrefix(f.Name(), "Get")
}
