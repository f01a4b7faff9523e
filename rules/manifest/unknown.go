// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/sallyport-dev/sallyport/rules/internal/schema"
)

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

// outerProblems returns the unknown fields around the spec of an object of
// Istio's.
func (d *Document) outerProblems() []*Error {
	problems := d.unknownKeys(nil, d.node(), objectFields)
	if _, metadata := child(d.node(), "metadata"); metadata != nil {
		problems = append(problems, d.unknownKeys(field.NewPath("metadata"), resolve(metadata), metadataFields)...)
	}
	return problems
}

func (d *Document) unknownKeys(parent *field.Path, node *yaml.Node, known []string) []*Error {
	var problems []*Error
	for key := range entries(node) {
		if slices.Contains(known, key.Value) {
			continue
		}
		path := field.NewPath(key.Value)
		if parent != nil {
			path = parent.Child(key.Value)
		}
		hint := ""
		if near := schema.Nearest(key.Value, known); near != "" {
			hint = fmt.Sprintf(", did you mean %q?", near)
		}
		err := d.errorAt(key, fmt.Sprintf("unknown field %q%s", path, hint))
		err.Path = path.String()
		problems = append(problems, err)
	}
	return problems
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

// prune fills d.Unknown and returns the object as the API server keeps it, and
// what it refuses altogether.
func (d *Document) prune() (raw []byte, problems []*Error) {
	var object map[string]any
	if kjson.UnmarshalCaseSensitivePreserveInts(d.Raw, &object) != nil {
		return d.Raw, nil
	}
	unknown, misfits := schema.Prune(d.Kind, object["spec"])
	d.Unknown = unknown
	for _, m := range misfits {
		problems = append(problems, d.errorAtPath(m.Path, fmt.Sprintf("%s must be %s", m.Path, m.Want)))
	}
	if len(unknown) == 0 {
		return d.Raw, problems
	}
	pruned, err := json.Marshal(object)
	if err != nil {
		return d.Raw, problems
	}
	return pruned, problems
}

func (d *Document) errorAtPath(path *field.Path, message string) *Error {
	at, _ := d.Position(path.String())
	return &Error{File: d.File, Position: at, Path: path.String(), Message: message}
}
