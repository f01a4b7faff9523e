// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// An Operation is one step of a JSON patch (RFC 6902).
type Operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
}

// Patch returns the operations that make the injections in an object as the
// user wrote it; obj is the object after [Mutate]. It adds the values at the
// recorded paths and nothing else, so that the user's spelling, unknown fields
// and order survive: Istio's types change all of these in a round trip.
func Patch(obj Object, injections []Injection) ([]Operation, error) {
	if len(injections) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode the mutated object: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decode the mutated object: %w", err)
	}
	ops := make([]Operation, 0, len(injections))
	for _, in := range injections {
		segments := SplitPath(in.Path.String())
		value, err := lookup(tree, segments)
		if err != nil {
			return nil, fmt.Errorf("%s set %s: %w", in.Mutator.Name, in.Path, err)
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("%s set %s: %w", in.Mutator.Name, in.Path, err)
		}
		ops = append(ops, Operation{Op: "add", Path: pointer(segments), Value: encoded})
	}
	return ops, nil
}

// SplitPath returns the keys and indices of a path as [field.Path] prints it:
// "spec.http[0].name" has four, "metadata.labels[a.b/c]" has three.
func SplitPath(path string) []string {
	var segments []string
	for path != "" {
		if path[0] == '[' {
			end := strings.IndexByte(path, ']')
			if end < 0 {
				return append(segments, path[1:])
			}
			segments = append(segments, path[1:end])
			path = strings.TrimPrefix(path[end+1:], ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(segments, path)
		}
		segments = append(segments, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return segments
}

func lookup(node any, segments []string) (any, error) {
	for _, s := range segments {
		var ok bool
		switch n := node.(type) {
		case map[string]any:
			node, ok = n[s]
		case []any:
			i, err := strconv.Atoi(s)
			if ok = err == nil && i >= 0 && i < len(n); ok {
				node = n[i]
			}
		}
		if !ok {
			return nil, fmt.Errorf("there is no %q in the result", s)
		}
	}
	return node, nil
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(s))
	}
	return b.String()
}
