// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// snakeCase are the only fields that Istio's CRDs know by their protobuf name
// (istio.io/api v1.31, kubernetes/customresourcedefinitions.gen.yaml). All other
// such spellings are dropped by the API server, although Istio's own decoder
// takes them.
var snakeCase = map[protoreflect.FullName]bool{
	"istio.networking.v1alpha3.HTTPRoute.mirror_percent": true,
	"istio.security.v1beta1.JWTRule.jwks_uri":            true,
}

var (
	objectFields   = []string{"apiVersion", "kind", "metadata", "spec", "status"}
	metadataFields = jsonFields(reflect.TypeFor[metav1.ObjectMeta]())
)

func jsonFields(typ reflect.Type) []string {
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// unknownFields returns what the API server would drop or refuse in an object of
// Istio's.
func (d *Document) unknownFields() []*Error {
	schema, ok := d.Kind.Spec(d.Kind.New()).(proto.Message)
	if !ok {
		return nil
	}
	s := &strictness{doc: d}
	s.keys(nil, d.node, objectFields)
	if _, metadata := child(d.node, "metadata"); metadata != nil {
		s.keys(field.NewPath("metadata"), resolve(metadata), metadataFields)
	}
	if _, spec := child(d.node, "spec"); spec != nil {
		if spec = resolve(spec); !isEmpty(spec) {
			s.message(field.NewPath("spec"), spec, schema.ProtoReflect().Descriptor())
		}
	}
	return s.problems
}

// strictness collects what does not fit while it walks a document.
type strictness struct {
	doc      *Document
	problems []*Error
}

func (s *strictness) report(path *field.Path, at *yaml.Node, format string, args ...any) {
	err := s.doc.errorAt(at, fmt.Sprintf(format, args...))
	err.Path = path.String()
	s.problems = append(s.problems, err)
}

func (s *strictness) unknown(parent *field.Path, key *yaml.Node, known []string) {
	path := field.NewPath(key.Value)
	if parent != nil {
		path = parent.Child(key.Value)
	}
	hint := ""
	if near := nearest(key.Value, known); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	s.report(path, key, "unknown field %q%s", path, hint)
}

func (s *strictness) keys(path *field.Path, node *yaml.Node, known []string) {
	for key := range entries(node) {
		if !slices.Contains(known, key.Value) {
			s.unknown(path, key, known)
		}
	}
}

// entries yields the keys and values of a mapping, those merged in included.
func entries(node *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], resolve(node.Content[i+1])
			if !isMerge(key) {
				if !yield(key, value) {
					return
				}
				continue
			}
			for k, v := range entries(value) {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (s *strictness) message(path *field.Path, node *yaml.Node, desc protoreflect.MessageDescriptor) {
	if strings.HasPrefix(string(desc.FullName()), "google.protobuf.") {
		return // durations, wrappers and structs have JSON forms of their own
	}
	if node.Kind != yaml.MappingNode {
		s.report(path, node, "%s must be an object", path)
		return
	}
	fields := desc.Fields()
	for key, value := range entries(node) {
		fd := fields.ByJSONName(key.Value)
		if fd == nil {
			if byName := fields.ByName(protoreflect.Name(key.Value)); byName != nil && snakeCase[byName.FullName()] {
				fd = byName
			}
		}
		if fd == nil {
			s.unknown(path, key, jsonNames(fields))
			continue
		}
		s.field(path.Child(key.Value), value, fd)
	}
}

func jsonNames(fields protoreflect.FieldDescriptors) []string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
	}
	return names
}

func (s *strictness) field(path *field.Path, value *yaml.Node, fd protoreflect.FieldDescriptor) {
	switch {
	case isEmpty(value):
	case fd.IsMap():
		if value.Kind != yaml.MappingNode {
			s.report(path, value, "%s must be an object", path)
		}
		for key, v := range entries(value) {
			s.value(path.Key(key.Value), v, fd.MapValue())
		}
	case fd.IsList():
		if value.Kind != yaml.SequenceNode {
			s.report(path, value, "%s must be a list", path)
			return
		}
		for i, item := range value.Content {
			s.value(path.Index(i), resolve(item), fd)
		}
	default:
		s.value(path, value, fd)
	}
}

func (s *strictness) value(path *field.Path, value *yaml.Node, fd protoreflect.FieldDescriptor) {
	if message := fd.Message(); message != nil {
		s.message(path, value, message)
		return
	}
	if value.Kind != yaml.ScalarNode {
		s.report(path, value, "%s must be a single value", path)
		return
	}
	if enum := fd.Enum(); enum != nil && enum.Values().ByName(protoreflect.Name(value.Value)) == nil {
		var names []string
		for i := range enum.Values().Len() {
			names = append(names, string(enum.Values().Get(i).Name()))
		}
		s.report(path, value, "%s: unknown value %q, must be one of %s", path, value.Value, strings.Join(names, ", "))
	}
}

// nearest returns the name that was probably meant, or "".
func nearest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		distance := editDistance(fold(name), fold(k))
		if distance < bestDistance && distance*2 <= len(k) {
			best, bestDistance = k, distance
		}
	}
	return best
}

// fold removes what spellings of one name differ in.
func fold(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
