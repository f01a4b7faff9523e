// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A layout is how a document is written, which new parts of it follow.
type layout struct {
	eol  string
	step int // how much deeper a mapping stands than its key
	dash int // how much deeper a sequence stands than its key
	json bool
	unit string // the indentation of JSON that is spread over lines
	// compact is set for JSON without blanks.
	compact bool
}

func (t *tree) readLayout() layout {
	l := layout{eol: "\n", step: 2, json: t.isJSON()}
	if n := bytes.IndexByte(t.text, '\n'); n > 0 && t.text[n-1] == '\r' {
		l.eol = "\r\n"
	}
	if l.json {
		first := t.entry(t.root, 0)
		l.compact = !isSpace(rune(t.at(first.after)))
		if t.isFirst(first.start) {
			l.unit = t.lead(first.start)
		}
		return l
	}
	var step, dash bool
	for node := range descendants(t.root) {
		if node.Kind != yaml.MappingNode || isFlow(node) {
			continue
		}
		for i := range width(node) {
			key, value := node.Content[2*i], valueOf(node, i)
			if !isCollection(value) || isFlow(value) || value.Line == key.Line {
				continue
			}
			if deeper := value.Column - key.Column; value.Kind == yaml.MappingNode && !step {
				l.step, step = deeper, true
			} else if value.Kind == yaml.SequenceNode && !dash {
				l.dash, dash = deeper, true
			}
		}
	}
	return l
}

// decodeValue reads JSON into nodes that keep the order of members. Scalars that
// are no strings have no tag.
func decodeValue(raw []byte) (*yaml.Node, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	node, err := nextValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return node, nil
}

func nextValue(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return scalarOf(token), nil
	}
	node := &yaml.Node{Kind: yaml.SequenceNode}
	if delim == '{' {
		node.Kind = yaml.MappingNode
	}
	for d.More() {
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, scalarOf(key))
		}
		value, err := nextValue(d)
		if err != nil {
			return nil, err
		}
		node.Content = append(node.Content, value)
	}
	_, err = d.Token()
	return node, err
}

func scalarOf(token json.Token) *yaml.Node {
	switch v := token.(type) {
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
	}
}

// A writer writes new values.
type writer struct {
	layout
	strings.Builder
}

func (w *writer) newline(indent int) { w.WriteString(w.eol + strings.Repeat(" ", indent)) }

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
	w.WriteByte(':')
	switch {
	case isInline(value):
		w.WriteByte(' ')
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
	w.WriteString("- ")
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
	w.WriteByte(brackets[0])
	for i := range width(node) {
		if i > 0 {
			w.WriteByte(',')
		}
		inner := ""
		if indent != "" {
			inner = indent + w.unit
			w.WriteString(inner)
		} else if i > 0 && !w.compact {
			w.WriteByte(' ')
		}
		if node.Kind == yaml.MappingNode {
			w.flowKey(node.Content[2*i])
		}
		w.flow(valueOf(node, i), inner)
	}
	if width(node) > 0 {
		w.WriteString(indent)
	}
	w.WriteByte(brackets[1])
}

func (w *writer) flowKey(key *yaml.Node) {
	w.scalar(key, true)
	w.WriteByte(':')
	if !w.compact {
		w.WriteByte(' ')
	}
}

func (w *writer) scalar(node *yaml.Node, inFlow bool) {
	if node.Tag == "" || !w.json && isPlain(node.Value, inFlow) {
		w.WriteString(node.Value)
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(node.Value); err != nil {
		panic("manifest: a string cannot be encoded: " + err.Error())
	}
	w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
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
