// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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
