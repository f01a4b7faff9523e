// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A tree is the text of a document with the nodes that stand in it. The parser
// tells where nodes begin; where they end is found out here.
type tree struct {
	text    []byte
	lines   []int // where each line begins, as the parser counts them
	root    *yaml.Node
	aliased map[*yaml.Node]bool // nodes that an alias stands for
	layout  layout
}

// errMisfit is what methods of a tree panic with where the text is not what the
// nodes make expect: how YAML may be laid out has no end.
var errMisfit = errors.New("the text is laid out in a way that cannot be edited")

func parseTree(text []byte) (*tree, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, errMisfit
	}
	t := &tree{text: text, root: doc.Content[0], aliased: map[*yaml.Node]bool{}, lines: lineStarts(text)}
	for node := range descendants(t.root) {
		if node.Kind == yaml.AliasNode {
			t.aliased[node.Alias] = true
		}
	}
	t.layout = t.readLayout()
	return t, nil
}

// lineStarts returns where lines begin. The parser also breaks them at
// characters at which editors do not.
func lineStarts(text []byte) []int {
	starts := []int{0}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			size = 2
		}
		i += size
		switch r {
		case '\n', '\r', '\u0085', '\u2028', '\u2029':
			starts = append(starts, i)
		}
	}
	return starts
}

// descendants yields the node and everything in it, in the order of the text.
func descendants(node *yaml.Node) func(yield func(*yaml.Node) bool) {
	var walk func(*yaml.Node, func(*yaml.Node) bool) bool
	walk = func(node *yaml.Node, yield func(*yaml.Node) bool) bool {
		if !yield(node) {
			return false
		}
		for _, c := range node.Content {
			if !walk(c, yield) {
				return false
			}
		}
		return true
	}
	return func(yield func(*yaml.Node) bool) { walk(node, yield) }
}

// at returns the byte at an offset, or 0 behind the text.
func (t *tree) at(pos int) byte {
	if pos < 0 || pos >= len(t.text) {
		return 0
	}
	return t.text[pos]
}

// start returns where a node begins, with its anchor and tag.
func (t *tree) start(node *yaml.Node) int {
	if node.Line < 1 || node.Line > len(t.lines) {
		panic(errMisfit)
	}
	pos := t.lines[node.Line-1]
	for range node.Column - 1 {
		_, size := utf8.DecodeRune(t.text[pos:])
		pos += size
	}
	return min(pos, len(t.text))
}

// lineStart returns the offset behind the last line feed before pos.
func (t *tree) lineStart(pos int) int { return bytes.LastIndexByte(t.text[:pos], '\n') + 1 }

// lineEnd returns the offset of the line break behind pos, or of the text's end.
func (t *tree) lineEnd(pos int) int {
	n := bytes.IndexByte(t.text[pos:], '\n')
	if n < 0 {
		return len(t.text)
	}
	if n > 0 && t.text[pos+n-1] == '\r' {
		n--
	}
	return pos + n
}

// nextLine returns the offset of the line behind that of pos.
func (t *tree) nextLine(pos int) int {
	n := bytes.IndexByte(t.text[pos:], '\n')
	if n < 0 {
		return len(t.text)
	}
	return pos + n + 1
}

// lead returns the blanks that begin the line of pos.
func (t *tree) lead(pos int) string {
	line := t.text[t.lineStart(pos):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// isFirst reports whether there is nothing but blanks before pos on its line.
func (t *tree) isFirst(pos int) bool {
	return len(bytes.TrimLeft(t.text[t.lineStart(pos):pos], " \t")) == 0
}

// column returns how many characters stand before pos on its line.
func (t *tree) column(pos int) int { return utf8.RuneCount(t.text[t.lineStart(pos):pos]) }

// skipSpace skips blanks on one line.
func (t *tree) skipSpace(pos int) int {
	for t.at(pos) == ' ' || t.at(pos) == '\t' {
		pos++
	}
	return pos
}

// skip skips blanks, line breaks and comments.
func (t *tree) skip(pos int) int {
	for pos < len(t.text) {
		switch t.text[pos] {
		case ' ', '\t', '\r', '\n':
			pos++
		case '#':
			pos = t.nextLine(pos)
		default:
			return pos
		}
	}
	return pos
}

// expect returns the offset behind the byte c, which is the next that is no
// blank or comment.
func (t *tree) expect(pos int, c byte) int {
	if pos = t.skip(pos); t.at(pos) != c {
		panic(errMisfit)
	}
	return pos + 1
}

// content returns where a node begins behind its anchor and tag.
func (t *tree) content(node *yaml.Node) int {
	pos := t.start(node)
	for t.at(pos) == '&' || t.at(pos) == '!' {
		n := bytes.IndexAny(t.text[pos:], " \t\r\n,[]{}")
		if n < 0 {
			return len(t.text)
		}
		pos += n
		if next := t.skip(pos); node.Kind != yaml.ScalarNode || node.Value != "" || isQuoted(node) {
			pos = next
		} else if c := t.at(next); c == '&' || c == '!' {
			pos = next
		}
	}
	return pos
}

func isQuoted(node *yaml.Node) bool {
	return node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// isAbsent reports whether the node is a null of which nothing is written.
func isAbsent(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Value == "" && node.Style == 0 && node.Anchor == ""
}

func isFlow(node *yaml.Node) bool { return node.Style&yaml.FlowStyle != 0 }

func isCollection(node *yaml.Node) bool {
	return node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode
}

// end returns the offset behind a node of which something is written.
func (t *tree) end(node *yaml.Node) int {
	pos := t.content(node)
	switch {
	case node.Kind == yaml.AliasNode:
		return pos + len("*") + len(node.Value)
	case isCollection(node) && isFlow(node):
		return t.flowEnd(node, pos)
	case isCollection(node) && width(node) > 0:
		return t.entry(node, width(node)-1).end
	case node.Style&yaml.DoubleQuotedStyle != 0:
		return t.quotedEnd(pos, '"')
	case node.Style&yaml.SingleQuotedStyle != 0:
		return t.quotedEnd(pos, '\'')
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return t.blockScalarEnd(node, pos)
	default:
		return t.plainEnd(node, pos)
	}
}

func (t *tree) flowEnd(node *yaml.Node, pos int) int {
	open, closing := byte('['), byte(']')
	if node.Kind == yaml.MappingNode {
		open, closing = '{', '}'
	}
	if t.at(pos) != open { // a pair in a sequence, without braces
		panic(errMisfit)
	}
	pos++
	if n := width(node); n > 0 {
		pos = t.skip(t.entry(node, n-1).end)
		if t.at(pos) == ',' {
			pos++
		}
	}
	return t.expect(pos, closing)
}

func (t *tree) quotedEnd(pos int, quote byte) int {
	if t.at(pos) != quote {
		panic(errMisfit)
	}
	for pos++; pos < len(t.text); pos++ {
		switch {
		case t.text[pos] == '\\' && quote == '"':
			pos++
		case t.text[pos] == quote && quote == '\'' && t.at(pos+1) == quote:
			pos++
		case t.text[pos] == quote:
			return pos + 1
		}
	}
	panic(errMisfit)
}

// plainEnd follows the words of a plain scalar, between which lines may break.
func (t *tree) plainEnd(node *yaml.Node, pos int) int {
	for i, word := range strings.FieldsFunc(node.Value, isSpace) {
		for i > 0 && isSpace(rune(t.at(pos))) {
			pos++
		}
		if !bytes.HasPrefix(t.text[pos:], []byte(word)) {
			panic(errMisfit)
		}
		pos += len(word)
	}
	return pos
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// isJSON reports whether the document is JSON, and shall stay so.
func (t *tree) isJSON() bool { return t.at(t.skip(0)) == '{' && json.Valid(t.text) }
