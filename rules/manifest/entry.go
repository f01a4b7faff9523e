// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An entry is a member of a mapping or an element of a sequence, by offsets.
type entry struct {
	start int // of the key, the dash, or in flow sequences the value
	after int // behind the colon or the dash
	value int // where the value begins; after, if none is written
	end   int // behind the value
}

// width returns the number of entries of a collection.
func width(node *yaml.Node) int {
	if node.Kind == yaml.MappingNode {
		return len(node.Content) / 2
	}
	return len(node.Content)
}

// valueOf returns the value of entry i of a collection.
func valueOf(node *yaml.Node, i int) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		return node.Content[2*i+1]
	}
	return node.Content[i]
}

func (t *tree) entry(node *yaml.Node, i int) entry {
	var e entry
	switch {
	case node.Kind == yaml.MappingNode:
		key := node.Content[2*i]
		e.start = t.start(key)
		e.after = t.colon(key)
	case isFlow(node):
		e.start = t.start(node.Content[i])
		e.after = e.start
	case i == 0:
		e.after = t.expect(t.content(node), '-')
		e.start = e.after - 1
	default:
		e.after = t.expect(t.entryEnd(node, i-1), '-')
		e.start = e.after - 1
	}
	e.value, e.end = e.after, e.after
	if value := valueOf(node, i); !isAbsent(value) {
		e.value = t.start(value)
		e.end = t.end(value)
	}
	return e
}

// entryEnd is entry(i).end, without the way through all entries before it.
func (t *tree) entryEnd(node *yaml.Node, i int) int {
	if value := valueOf(node, i); !isAbsent(value) {
		return t.end(value)
	}
	return t.entry(node, i).end
}

// colon returns the offset behind the colon of a key. In flow style, a key may
// have none.
func (t *tree) colon(key *yaml.Node) int {
	end := t.start(key)
	if !isAbsent(key) {
		end = t.end(key)
	}
	if pos := t.skip(end); t.at(pos) == ':' {
		return pos + 1
	}
	return end
}

// blockScalarEnd returns the offset behind the last line of a literal or folded
// scalar. Its indentation is that of its first line.
func (t *tree) blockScalarEnd(node *yaml.Node, pos int) int {
	header := t.text[pos:t.lineEnd(pos)]
	if comment := bytes.IndexByte(header, '#'); comment >= 0 {
		header = header[:comment]
	}
	keep := bytes.IndexByte(header, '+') >= 0
	end := t.lineEnd(pos)
	indent := -1
	for p := t.nextLine(pos); p < len(t.text); p = t.nextLine(p) {
		line := string(t.text[p:t.lineEnd(p)])
		lead := len(line) - len(strings.TrimLeft(line, " "))
		blank := lead == len(line)
		if indent < 0 && !blank {
			indent = max(lead-firstLead(node.Value), 0)
		}
		switch {
		case strings.Trim(node.Value, "\n") == "" && !blank,
			!blank && lead < indent:
			return end
		case !blank || keep || indent >= 0 && lead > indent:
			end = t.lineEnd(p)
		}
	}
	return end
}

// firstLead returns how many spaces the first line that is not blank begins with.
func firstLead(value string) int {
	for line := range strings.Lines(value) {
		if rest := strings.TrimLeft(line, " "); rest != "\n" && rest != "" {
			return len(line) - len(rest)
		}
	}
	return 0
}

// behind returns the end of the last line that belongs to what ends at pos: with
// the comments below it that are indented deeper than column.
func (t *tree) behind(pos, column int) int {
	end := t.lineEnd(pos)
	for p := t.nextLine(pos); p < len(t.text); p = t.nextLine(p) {
		line := bytes.TrimRight(t.text[p:t.lineEnd(p)], " \t\r")
		rest := bytes.TrimLeft(line, " \t")
		if len(rest) == 0 {
			continue
		}
		if rest[0] != '#' || len(line)-len(rest) <= column {
			break
		}
		end = t.lineEnd(p)
	}
	return end
}
