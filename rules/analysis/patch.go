// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The operations of a JSON patch (RFC 6902) that are used here.
const (
	Add     = "add"     // set a member of an object, or insert into an array
	Replace = "replace" // put in place of what is there
	Remove  = "remove"
)

// An Operation is one step of a JSON patch.
type Operation struct {
	Op   string `json:"op"`
	Path string `json:"path"`
	// Value is empty for [Remove].
	Value json.RawMessage `json:"value,omitempty"`
}

// Patch returns the operations that make the injections in an object as the
// user wrote it. It changes the values at the recorded paths and nothing else, so
// that the user's spelling, unknown fields and order survive: Istio's types
// change all of these in a round trip.
func Patch(injections []Injection) ([]Operation, error) {
	ops := make([]Operation, 0, len(injections))
	for _, in := range injections {
		op := Operation{Op: in.Op, Path: pointer(SplitPath(in.Path.String()))}
		if in.Op != Remove {
			var err error
			if op.Value, err = encode(in.Value); err != nil {
				return nil, fmt.Errorf("%s at %s: %w", in.Mutator.Name, in.Path, err)
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func encode(value any) ([]byte, error) {
	switch v := value.(type) {
	case proto.Message:
		return encodeMessage(v)
	case []proto.Message:
		list := make([]json.RawMessage, len(v))
		for i, message := range v {
			var err error
			if list[i], err = encodeMessage(message); err != nil {
				return nil, err
			}
		}
		return json.Marshal(list)
	default:
		return json.Marshal(value)
	}
}

func encodeMessage(message proto.Message) ([]byte, error) {
	data, err := protojson.Marshal(message)
	if err != nil {
		return nil, err
	}
	// protojson puts in blanks at random, lest anybody relies on its output.
	var compact bytes.Buffer
	err = json.Compact(&compact, data)
	return compact.Bytes(), err
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

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(s))
	}
	return b.String()
}
