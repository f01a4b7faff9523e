// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// resolve follows aliases.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// child returns the value at a key of a mapping, with its key node, or at an
// index of a sequence. Merge keys are looked into.
func child(node *yaml.Node, segment string) (key, value *yaml.Node) {
	switch node.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(node.Content) {
			return nil, node.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == segment {
				return node.Content[i], node.Content[i+1]
			}
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if isMerge(node.Content[i]) {
				if k, v := mergedChild(resolve(node.Content[i+1]), segment); v != nil {
					return k, v
				}
			}
		}
	default: // a scalar has no children
	}
	return nil, nil
}

func mergedChild(node *yaml.Node, segment string) (key, value *yaml.Node) {
	if node.Kind != yaml.SequenceNode {
		return child(node, segment)
	}
	for _, item := range node.Content {
		if k, v := child(resolve(item), segment); v != nil {
			return k, v
		}
	}
	return nil, nil
}

func isMerge(key *yaml.Node) bool { return key.Tag == "!!merge" }

// appendJSON writes a node as JSON. It reports false for what YAML 1.1, which
// kubectl reads, might understand otherwise than YAML 1.2, for aliases and for
// other rare things: these are left to kubectl's own library.
func appendJSON(b *bytes.Buffer, node *yaml.Node) bool {
	if node.Anchor != "" {
		return false
	}
	switch node.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i := 0; i+1 < len(node.Content); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			key := node.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag != "!!str" || isAmbiguous(key) {
				return false
			}
			appendString(b, key.Value)
			b.WriteByte(':')
			if !appendJSON(b, node.Content[i+1]) {
				return false
			}
		}
		b.WriteByte('}')
		return true
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range node.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if !appendJSON(b, item) {
				return false
			}
		}
		b.WriteByte(']')
		return true
	case yaml.ScalarNode:
		return appendScalar(b, node)
	default:
		return false
	}
}

func appendScalar(b *bytes.Buffer, node *yaml.Node) bool {
	quoted := node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case node.Style&yaml.TaggedStyle != 0:
		return false
	case quoted:
		appendString(b, node.Value)
	case node.Tag == "!!null":
		b.WriteString("null")
	case node.Value == "true" || node.Value == "false":
		b.WriteString(node.Value)
	case node.Tag == "!!int" && plainInteger.MatchString(node.Value):
		b.WriteString(node.Value)
	case node.Tag == "!!str" && !isAmbiguous(node):
		appendString(b, node.Value)
	default:
		return false
	}
	return true
}

var (
	plainInteger = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)
	// ambiguous scalars are something else than a string in YAML 1.1, or may
	// be: booleans, and what begins like a number.
	ambiguous = regexp.MustCompile(`^([yY]|[nN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF|[-+.]?[0-9][0-9_.:eExXoObBa-fA-F+-]*|<<|=)$`)
)

func isAmbiguous(node *yaml.Node) bool {
	return node.Style == 0 && ambiguous.MatchString(node.Value)
}

func appendString(b *bytes.Buffer, s string) {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r > '~' }) {
		b.WriteByte('"')
		b.WriteString(s)
		b.WriteByte('"')
		return
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic("manifest: a string cannot be encoded: " + err.Error())
	}
	b.Write(quoted)
}
