// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// expect returns what the edits make of the text, as JSON, and the anchors of the
// text.
func expect(text []byte, edits []Edit) (want []byte, anchors []string, err error) {
	before, anchors, err := readText(text)
	if err != nil {
		return nil, nil, err
	}
	var ops []analysis.Operation
	for _, e := range edits {
		for _, op := range e.Operations {
			if op.Path == "" {
				return nil, nil, errors.New("the whole object cannot be replaced")
			}
			op.Path = strings.Join(append([]string{""}, e.Document.within...), "/") + op.Path
			ops = append(ops, op)
		}
	}
	encoded, err := json.Marshal(ops)
	if err != nil {
		return nil, nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, nil, err
	}
	want, err = patch.Apply(before)
	return want, anchors, err
}

func readText(text []byte) (raw []byte, anchors []string, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, nil, errMisfit
	}
	if key := duplicateKey(doc.Content[0]); key != nil {
		return nil, nil, fmt.Errorf("duplicate key %q", key.Value)
	}
	for node := range descendants(doc.Content[0]) {
		if node.Anchor != "" {
			anchors = append(anchors, node.Anchor)
		}
	}
	raw, err = toJSON(doc.Content[0], text)
	return raw, anchors, err
}

// verify fails unless the text means what was wanted and is still one document
// with the same anchors. It is what makes sure that an edit, wherever it was made,
// did what it should and nothing else.
func verify(text, want []byte, anchors []string) error {
	got, gotAnchors, err := readText(text)
	if err != nil {
		return errMisfit
	}
	for line := range bytes.Lines(text) {
		if isSeparator(line) {
			return errMisfit
		}
	}
	if !slices.Equal(anchors, gotAnchors) {
		return errors.New("it would change an anchor")
	}
	if !sameJSON(got, want) {
		return errMisfit
	}
	return nil
}

// sameJSON compares JSON, and numbers by what they are worth.
func sameJSON(a, b []byte) bool {
	x, errX := decodeAny(a)
	y, errY := decodeAny(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decodeAny(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return normal(v), err
}

// normal makes numbers comparable: kubectl's library writes 1.0 as 1.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = normal(v[key])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case json.Number:
		f, err := v.Float64()
		switch {
		case plainInteger.MatchString(v.String()) || err != nil:
			return v
		case f == math.Trunc(f) && math.Abs(f) < 1<<53:
			return json.Number(strconv.FormatInt(int64(f), 10))
		default:
			return f
		}
	}
	return v
}
