// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A Misfit is a value of another shape than the schema has at its place, which
// the API server refuses.
type Misfit struct {
	Path *field.Path
	// Want says what the value must be, such as "a list".
	Want string
}

// Prune removes from a spec, in the form in which [encoding/json] decodes it, the
// fields that objects of the kind do not have, as the API server does. It returns
// them together with values that the API server refuses, in the order of names
// and indices. Kinds without a schema are left alone.
func Prune(kind *analysis.Kind, spec any) ([]analysis.UnknownField, []Misfit) {
	n := schemas()[kind.String()]
	if n == nil {
		return nil, nil
	}
	p := new(pruner)
	p.value(field.NewPath("spec"), spec, n)
	return p.unknown, p.misfits
}

type pruner struct {
	unknown []analysis.UnknownField
	misfits []Misfit
}

func (p *pruner) value(path *field.Path, v any, n *node) {
	switch {
	case v == nil || n.Any:
	case n.Fields != nil:
		p.object(path, v, n)
	case n.Values != nil:
		if m, ok := v.(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(m)) {
				p.value(path.Key(key), m[key], n.Values)
			}
			return
		}
		p.misfit(path, "an object")
	case n.Items != nil:
		if list, ok := v.([]any); ok {
			for i, item := range list {
				p.value(path.Index(i), item, n.Items)
			}
			return
		}
		p.misfit(path, "a list")
	default:
		p.scalar(path, v, n)
	}
}

func (p *pruner) object(path *field.Path, v any, n *node) {
	m, ok := v.(map[string]any)
	if !ok {
		p.misfit(path, "an object")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if known := n.Fields[name]; known != nil {
			p.value(path.Child(name), m[name], known)
			continue
		}
		u := analysis.UnknownField{Path: child(path, name)}
		if len(p.unknown) < maxSuggestions {
			u.Suggestion = Nearest(name, n.names())
		}
		p.unknown = append(p.unknown, u)
		delete(m, name)
	}
}

func (p *pruner) scalar(path *field.Path, v any, n *node) {
	switch v.(type) {
	case map[string]any, []any:
		p.misfit(path, "a single value")
		return
	}
	if s, ok := v.(string); n.Enum != nil && (!ok || !slices.Contains(n.Enum, s)) {
		p.unknown = append(p.unknown, analysis.UnknownField{Path: path, Value: fmt.Sprint(v), Supported: n.Enum})
	}
}

func (p *pruner) misfit(path *field.Path, want string) {
	p.misfits = append(p.misfits, Misfit{Path: path, Want: want})
}

// maxSuggestions bounds the time that an object takes that consists of unknown
// fields. Nobody reads more.
const maxSuggestions = 64

var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// child returns the path of a field. A name that could be taken for two stands
// in brackets.
func child(path *field.Path, name string) *field.Path {
	if plainName.MatchString(name) {
		return path.Child(name)
	}
	return path.Key(name)
}
