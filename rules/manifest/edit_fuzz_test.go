// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// FuzzEdit makes random operations in a text, which is random too if it is empty:
// either none is made, or the object is what a JSON patch would make of it, other
// objects are what they were, and comments stay.
func FuzzEdit(f *testing.F) {
	const other = "apiVersion: v1\nkind: A\n"
	for seed := range uint64(50) {
		f.Add("", seed)
	}
	f.Add(head+"spec:\n  hosts: [a] # b\n---\n"+other, uint64(1))
	f.Add(other+"a: &a {b: 1}\nc: *a\nd:\n  <<: *a\n? e\n: f\n", uint64(2))
	f.Add("apiVersion: v1\nkind: List\nitems:\n- "+strings.ReplaceAll(other, "\n", "\n  "), uint64(3))
	f.Add(`{"apiVersion":"v1","kind":"A","a":[1,2,{"b":null}]}`, uint64(4))
	f.Add(other+"a: |+2\n   b\n\nc: >-\n\n  d\n   e\n\n\n  f", uint64(5))
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		g := textGenerator{Rand: rand.New(rand.NewPCG(seed, 1))}
		if text == "" {
			text = g.file()
		}
		fuzzEdit(t, g, text)
	})
}

// TestEditSucceeds: of what people write, hardly anything is refused.
func TestEditSucceeds(t *testing.T) {
	const rounds = 5000
	made := 0
	for seed := range uint64(rounds) {
		g := textGenerator{Rand: rand.New(rand.NewPCG(seed, 1))}
		if fuzzEdit(t, g, g.file()) {
			made++
		}
	}
	require.Greater(t, made, rounds*99/100)
}

// fuzzEdit edits some objects of a text and reports whether all edits were made.
func fuzzEdit(t *testing.T, g textGenerator, text string) bool {
	docs := readAll(text)
	var edits []Edit
	wanted := make([][]byte, len(docs))
	for i, doc := range docs {
		if wanted[i] = doc.Raw; i == 0 || g.oneIn(2) {
			ops, want := g.operations(t, doc.Raw)
			edits = append(edits, Edit{Document: doc, Operations: ops})
			wanted[i] = want
		}
	}
	out, refused := Apply([]byte(text), edits)
	describe := func() string { return fmt.Sprintf("%s\n=== %v\n%s", text, edits, out) }
	again := readAll(string(out))
	if len(again) < len(docs) && slices.ContainsFunc(docs, func(d *Document) bool { return d.Kind != nil }) {
		return true // a value fits no field of that kind
	}
	require.Len(t, again, len(docs), "%s", describe())
	missing := 0
	for i := range docs {
		if !sameJSON(wanted[i], again[i].Raw) {
			require.JSONEq(t, string(docs[i].Raw), string(again[i].Raw), "%s", describe())
			missing++
		}
	}
	require.LessOrEqual(t, missing, len(refused), "%s", describe())
	if len(refused) == len(edits) {
		require.Equal(t, text, string(out))
	}
	if len(edits) == 1 && len(edits[0].Operations) == 1 && len(refused) == 0 {
		before, after := markers.FindAllString(text, -1), markers.FindAllString(string(out), -1)
		lost := lostLines(t, edits[0].Document, edits[0].Operations[0])
		before = slices.DeleteFunc(before, func(m string) bool { return strings.Contains(lost, m+"#") && !slices.Contains(after, m) })
		require.Equal(t, strings.Join(before, " "), strings.Join(after, " "), "%s", describe())
	}
	return len(refused) == 0
}

func readAll(text string) (docs []*Document) {
	for doc, err := range Documents("f.yaml", strings.NewReader(text)) {
		if err == nil {
			docs = append(docs, doc)
		}
	}
	return docs
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return data
}

// markers are what generated comments consist of.
var markers = regexp.MustCompile(`#c[0-9]+`)

// lostLines returns the lines that an operation replaces or removes.
func lostLines(t *testing.T, doc *Document, op analysis.Operation) string {
	path := slices.Concat(doc.within, splitPointer(op.Path))
	tree, err := parseTree(doc.text)
	require.NoError(t, err)
	s, err := tree.find(path[:len(path)-1])
	require.NoError(t, err)
	i := indexOf(s.node, path[len(path)-1])
	if op.Op == analysis.Add && (s.node.Kind != yaml.MappingNode || i < 0) {
		return ""
	}
	e := tree.entry(s.node, i)
	return string(doc.text[tree.lineStart(e.start):tree.lineEnd(e.end)])
}

// operations returns valid operations on an object, and what they make of it.
func (g textGenerator) operations(t *testing.T, raw []byte) (ops []analysis.Operation, patched []byte) {
	for range 1 + g.IntN(3)*g.IntN(2) {
		var object any
		require.NoError(t, json.Unmarshal(raw, &object))
		op := g.operation(t, object)
		patch, err := jsonpatch.DecodePatch(mustMarshal(t, []analysis.Operation{op}))
		require.NoError(t, err)
		raw, err = patch.Apply(raw)
		require.NoError(t, err, "%s", op.Path)
		ops = append(ops, op)
	}
	return ops, raw
}

func (g textGenerator) operation(t *testing.T, object any) analysis.Operation {
	path := ""
	for {
		key, next := g.choose(object)
		path += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		isTop := strings.Count(path, "/") == 1
		switch next.(type) {
		case map[string]any, []any:
			if isTop || g.IntN(4) > 0 {
				object = next
				continue
			}
		default:
		}
		value := mustMarshal(t, g.value(2))
		switch {
		case next == nil || !isTop && g.IntN(3) == 0:
			return analysis.Operation{Op: analysis.Add, Path: path, Value: value}
		case isTop || g.IntN(2) == 0:
			return analysis.Operation{Op: analysis.Replace, Path: path, Value: value}
		default:
			return analysis.Operation{Op: analysis.Remove, Path: path}
		}
	}
}

// choose returns a key or index of a collection with its value, or a new one.
func (g textGenerator) choose(object any) (key string, value any) {
	isNew := g.IntN(4) == 0
	switch v := object.(type) {
	case map[string]any:
		keys := []string{}
		for k := range v {
			if k != "apiVersion" && k != "kind" && k != "items" {
				keys = append(keys, k)
			}
		}
		if slices.Sort(keys); len(keys) > 0 && !isNew {
			key = keys[g.IntN(len(keys))]
			return key, v[key]
		}
		return fmt.Sprintf("new%d", g.IntN(1000)), nil
	case []any:
		if i := g.IntN(len(v) + 1); i < len(v) && !isNew {
			return strconv.Itoa(i), v[i]
		}
	}
	return "-", nil
}
