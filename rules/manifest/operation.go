// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A blockedError is a part of a document that cannot be changed, since it is also
// a part of something else.
type blockedError struct {
	depth  int // segments of the path that lead to it
	reason string
}

func (e *blockedError) Error() string { return e.reason }

// A slot is a collection and the place that it has in another one.
type slot struct {
	node   *yaml.Node
	parent *yaml.Node // nil for the root
	index  int
}

// operate returns the splices that make an operation at a path.
func (t *tree) operate(path []string, op analysis.Operation) ([]splice, error) {
	s, err := t.find(path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	var value *yaml.Node
	if op.Op != analysis.Remove {
		if value, err = decodeValue(op.Value); err != nil {
			return nil, err
		}
	}
	last := path[len(path)-1]
	switch s.node.Kind {
	case yaml.MappingNode:
		return t.editMapping(s, last, len(path), op.Op, value)
	case yaml.SequenceNode:
		return t.editSequence(s, last, op.Op, value)
	default:
		return nil, errors.New("the parent is no object or list")
	}
}

// find returns the collection at a path, which must be written there and nowhere
// else.
func (t *tree) find(path []string) (slot, error) {
	s := slot{node: t.root}
	for depth := 0; ; depth++ {
		if s.node.Kind == yaml.AliasNode {
			return s, &blockedError{depth, "it is an alias of &" + s.node.Value}
		}
		if t.aliased[s.node] {
			return s, &blockedError{depth, fmt.Sprintf("it is the anchor &%s, of which there are aliases", s.node.Anchor)}
		}
		if depth == len(path) {
			return s, nil
		}
		i := indexOf(s.node, path[depth])
		if i < 0 {
			if isMerged(s.node, path[depth]) {
				return s, &blockedError{depth + 1, "it is merged in by <<"}
			}
			return s, fmt.Errorf("%s does not exist", fieldPath(path[:depth+1]))
		}
		s = slot{node: valueOf(s.node, i), parent: s.node, index: i}
	}
}

// indexOf returns the index of an entry that stands in the collection itself, or
// -1.
func indexOf(node *yaml.Node, segment string) int {
	for i := range width(node) {
		switch node.Kind {
		case yaml.MappingNode:
			if key := node.Content[2*i]; key.Kind == yaml.ScalarNode && key.Value == segment && !isMerge(key) {
				return i
			}
		case yaml.SequenceNode:
			if strconv.Itoa(i) == segment {
				return i
			}
		default: // a scalar has no entries
		}
	}
	return -1
}

func isMerged(node *yaml.Node, segment string) bool {
	_, value := child(node, segment)
	return value != nil && indexOf(node, segment) < 0
}

func (t *tree) editMapping(s slot, key string, depth int, op string, value *yaml.Node) ([]splice, error) {
	if k := uncertainKey(s.node); k != nil {
		return nil, &blockedError{depth - 1, fmt.Sprintf("kubectl reads its key %s as something else than a string; put it in quotes", k.Value)}
	}
	i := indexOf(s.node, key)
	switch {
	case i < 0 && isMerged(s.node, key):
		return nil, &blockedError{depth, "it is merged in by <<"}
	case i < 0 && op == analysis.Add:
		return t.addTo(s, width(s.node), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	case i < 0:
		return nil, errors.New("it does not exist")
	case op == analysis.Remove:
		return t.removeFrom(s, i)
	default:
		return t.replace(s.node, i, value), nil
	}
}

// uncertainKey returns a key that YAML 1.1 reads otherwise, such as Y for true, so that
// it may be the same as another one; nil if there is none.
func uncertainKey(mapping *yaml.Node) *yaml.Node {
	for i := range width(mapping) {
		key := mapping.Content[2*i]
		if key.Kind == yaml.ScalarNode && !isMerge(key) && (key.Tag != "!!str" || isAmbiguous(key)) {
			return key
		}
	}
	return nil
}

func (t *tree) editSequence(s slot, index, op string, value *yaml.Node) ([]splice, error) {
	i := indexOf(s.node, index)
	n := width(s.node)
	if op == analysis.Add && (index == "-" || index == strconv.Itoa(n)) {
		i = n
	}
	switch {
	case i < 0:
		return nil, errors.New("it does not exist")
	case op == analysis.Add:
		return t.addTo(s, i, nil, value)
	case op == analysis.Remove:
		return t.removeFrom(s, i)
	default:
		return t.replace(s.node, i, value), nil
	}
}

// addTo makes a new entry. An empty collection, which can only be in flow style,
// gives way to one in the style around it.
func (t *tree) addTo(s slot, i int, key, value *yaml.Node) ([]splice, error) {
	if width(s.node) > 0 {
		return t.insert(s.node, i, key, value), nil
	}
	if t.mayHoldComment(s.node) {
		inside := t.content(s.node) + 1
		return []splice{{inside, inside, t.write(func(w *writer) { w.flowEntry(key, value, "") })}}, nil
	}
	whole := &yaml.Node{Kind: s.node.Kind, Content: []*yaml.Node{value}}
	if key != nil {
		whole.Content = []*yaml.Node{key, value}
	}
	return t.refill(s, whole)
}

// removeFrom removes an entry. The last one leaves an empty collection behind.
func (t *tree) removeFrom(s slot, i int) ([]splice, error) {
	if width(s.node) > 1 || isFlow(s.node) && t.mayHoldComment(s.node) {
		return t.remove(s.node, i), nil
	}
	return t.refill(s, &yaml.Node{Kind: s.node.Kind})
}

func (t *tree) mayHoldComment(node *yaml.Node) bool {
	return bytes.IndexByte(t.text[t.content(node):t.end(node)], '#') >= 0
}

func (t *tree) refill(s slot, whole *yaml.Node) ([]splice, error) {
	if s.parent == nil {
		return nil, errors.New("the document would be empty")
	}
	return t.replace(s.parent, s.index, whole), nil
}
