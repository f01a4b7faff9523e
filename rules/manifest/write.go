// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A writer writes new values.
type writer struct {
	layout
	out strings.Builder
}

func (w *writer) newline(indent int) { w.out.WriteString(w.eol + strings.Repeat(" ", indent)) }

// isInline reports whether a value in block style stands behind its key or dash.
func isInline(node *yaml.Node) bool { return !isCollection(node) || len(node.Content) == 0 }

// block writes the entries of a collection in lines that begin at indent; the
// first begins where the writer is.
func (w *writer) block(node *yaml.Node, indent int) {
	for i := range width(node) {
		if i > 0 {
			w.newline(indent)
		}
		if node.Kind == yaml.MappingNode {
			w.member(node.Content[2*i], valueOf(node, i), indent)
		} else {
			w.element(valueOf(node, i), indent)
		}
	}
}

func (w *writer) member(key, value *yaml.Node, indent int) {
	w.scalar(key, false)
	w.out.WriteByte(':')
	switch {
	case isInline(value):
		w.out.WriteByte(' ')
		w.inline(value)
	case value.Kind == yaml.MappingNode:
		w.newline(indent + w.step)
		w.block(value, indent+w.step)
	default:
		w.newline(indent + w.dash)
		w.block(value, indent+w.dash)
	}
}

func (w *writer) element(value *yaml.Node, indent int) {
	w.out.WriteString("- ")
	if isInline(value) {
		w.inline(value)
		return
	}
	w.block(value, indent+len("- "))
}

// inline writes what stands behind a key or dash in block style.
func (w *writer) inline(value *yaml.Node) {
	if isCollection(value) {
		w.flow(value, "")
		return
	}
	w.scalar(value, false)
}

// flow writes a value in flow style: on one line, or if indent is given, spread
// over lines that begin with it.
func (w *writer) flow(node *yaml.Node, indent string) {
	if !isCollection(node) {
		w.scalar(node, true)
		return
	}
	brackets := "[]"
	if node.Kind == yaml.MappingNode {
		brackets = "{}"
	}
	w.out.WriteByte(brackets[0])
	for i := range width(node) {
		if i > 0 {
			w.out.WriteByte(',')
		}
		inner := ""
		if indent != "" {
			inner = indent + w.unit
			w.out.WriteString(inner)
		} else if i > 0 && !w.compact {
			w.out.WriteByte(' ')
		}
		if node.Kind == yaml.MappingNode {
			w.flowEntry(node.Content[2*i], valueOf(node, i), inner)
		} else {
			w.flowEntry(nil, valueOf(node, i), inner)
		}
	}
	if width(node) > 0 {
		w.out.WriteString(indent)
	}
	w.out.WriteByte(brackets[1])
}

// flowEntry writes a member, or an element if the key is nil.
func (w *writer) flowEntry(key, value *yaml.Node, indent string) {
	if key != nil {
		w.scalar(key, true)
		w.out.WriteByte(':')
		if !w.compact {
			w.out.WriteByte(' ')
		}
	}
	w.flow(value, indent)
}

func (w *writer) scalar(node *yaml.Node, inFlow bool) {
	if node.Tag == "" || !w.json && isPlain(node.Value, inFlow) {
		w.out.WriteString(node.Value)
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(node.Value); err != nil {
		panic("manifest: a string cannot be encoded: " + err.Error())
	}
	w.out.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

var plainScalar = regexp.MustCompile(`^[A-Za-z0-9_./]([A-Za-z0-9_./:,@%+=*~^$() -]*[A-Za-z0-9_./*)-])?$`)

// isPlain reports whether a string needs no quotes in YAML 1.1, which kubectl
// reads, nor in 1.2. It quotes some that need none.
func isPlain(s string, inFlow bool) bool {
	if !plainScalar.MatchString(s) || strings.Contains(s, ": ") || inFlow && strings.ContainsRune(s, ',') || strings.HasPrefix(s, "...") {
		return false
	}
	var doc yaml.Node
	if yaml.Unmarshal([]byte(s), &doc) != nil || len(doc.Content) != 1 {
		return false
	}
	node := doc.Content[0]
	return node.Kind == yaml.ScalarNode && node.Tag == "!!str" && node.Value == s && !isAmbiguous(node)
}
