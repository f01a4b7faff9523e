// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A splice puts text in place of what stands between two offsets.
type splice struct {
	from, to int
	text     string
}

// spliced returns the text with the splices made, which do not overlap.
func (t *tree) spliced(splices []splice) []byte {
	slices.SortStableFunc(splices, func(a, b splice) int { return a.from - b.from })
	var out bytes.Buffer
	pos := 0
	for _, s := range splices {
		if s.from < pos || s.to < s.from {
			panic(errMisfit)
		}
		out.Write(t.text[pos:s.from])
		out.WriteString(s.text)
		pos = s.to
	}
	out.Write(t.text[pos:])
	return out.Bytes()
}

// write returns what f writes.
func (t *tree) write(f func(w *writer)) string {
	w := &writer{layout: t.layout}
	f(w)
	return w.out.String()
}

// insert makes a new entry, the i-th, in a collection that has some already. The
// key is nil for sequences.
func (t *tree) insert(parent *yaml.Node, i int, key, value *yaml.Node) []splice {
	if isFlow(parent) {
		return t.insertFlow(parent, i, key, value)
	}
	column := t.column(t.entry(parent, 0).start)
	text := t.write(func(w *writer) {
		if key != nil {
			w.member(key, value, column)
		} else {
			w.element(value, column)
		}
	})
	indent := strings.Repeat(" ", column)
	if i > 0 {
		pos := t.behind(t.entry(parent, i-1).end, column)
		return []splice{{pos, pos, t.layout.eol + indent + text}}
	}
	pos := t.entry(parent, 0).start
	if t.isFirst(pos) {
		pos = t.aboveComments(t.lineStart(pos), column)
		return []splice{{pos, pos, indent + text + t.layout.eol}}
	}
	return []splice{{pos, pos, text + t.layout.eol + indent}}
}

// aboveComments returns where the comments at the same column begin that stand
// directly above a line.
func (t *tree) aboveComments(pos, column int) int {
	for pos > 0 {
		above := t.lineStart(pos - 1)
		if t.at(above+column) != '#' || len(t.lead(above)) != column {
			break
		}
		pos = above
	}
	return pos
}

// flowTail is what may stand behind an entry that is the last of its line.
var flowTail = regexp.MustCompile(`^[ \t]*(,?)[ \t]*(#.*)?$`)

func (t *tree) insertFlow(parent *yaml.Node, i int, key, value *yaml.Node) []splice {
	neighbour := t.entry(parent, max(i-1, 0))
	between := t.separator()
	indent := ""
	if t.isFirst(neighbour.start) { // every entry has a line of its own
		indent = t.layout.eol + t.lead(neighbour.start)
		between = "," + indent
	}
	text := t.write(func(w *writer) { w.flowEntry(key, value, t.spread(indent)) })
	if i == 0 {
		return []splice{{neighbour.start, neighbour.start, text + between}}
	}
	end := neighbour.end
	eol := t.lineEnd(end)
	tail := flowTail.FindSubmatch(t.text[end:eol])
	switch {
	case indent == "" || tail == nil:
		return []splice{{end, end, between + text}}
	case len(tail[1]) > 0:
		return []splice{{eol, eol, indent + text + ","}}
	default:
		return []splice{{end, end, ","}, {eol, eol, indent + text}}
	}
}

func (t *tree) separator() string {
	if t.layout.compact {
		return ","
	}
	return ", "
}

// spread returns the indent for [writer.flow]: only JSON is spread over lines.
func (t *tree) spread(indent string) string {
	if t.layout.unit == "" {
		return ""
	}
	return indent
}

// replace puts a value in place of that of entry i.
func (t *tree) replace(parent *yaml.Node, i int, value *yaml.Node) []splice {
	e, old := t.entry(parent, i), valueOf(parent, i)
	if isCollection(old) && !isFlow(old) {
		e.end = t.lineEnd(e.end) // a comment there is about its last line
	}
	keepsFlow := isCollection(old) && isFlow(old) && width(old) > 0
	switch {
	case isFlow(parent):
		return t.replaceFlow(e, isAbsent(old), value)
	case isInline(value) || keepsFlow:
		return t.replaceInline(e, value)
	case parent.Kind == yaml.SequenceNode:
		return t.replaceElement(e, value)
	default:
		return t.replaceMember(e, old, value)
	}
}

func (t *tree) replaceFlow(e entry, absent bool, value *yaml.Node) []splice {
	indent := ""
	if t.isFirst(e.start) {
		indent = t.layout.eol + t.lead(e.start)
	}
	text := t.write(func(w *writer) { w.flow(value, t.spread(indent)) })
	switch {
	case absent && t.at(e.after-1) == ':':
		text = " " + text
	case absent: // a key without a colon
		text = ": " + text
	}
	return []splice{{e.value, e.end, text}}
}

// replaceInline writes behind the key or dash in block style.
func (t *tree) replaceInline(e entry, value *yaml.Node) []splice {
	text := t.write(func(w *writer) { w.inline(value) })
	switch {
	case e.value == e.after:
		return []splice{{e.value, e.end, " " + text}}
	case t.lineStart(e.value) <= e.after:
		return []splice{{e.value, e.end, text}}
	default:
		return []splice{{e.after, e.after, " " + text}, t.withoutLines(e.value, e.end)}
	}
}

// replaceMember writes a collection in block style below its key.
func (t *tree) replaceMember(e entry, old, value *yaml.Node) []splice {
	deeper := t.layout.step
	if value.Kind == yaml.SequenceNode {
		deeper = t.layout.dash
	}
	column := t.column(e.start) + deeper
	ownLine := t.lineStart(e.value) > e.after
	if ownLine && old.Kind == value.Kind {
		column = t.column(e.value)
	}
	text := strings.Repeat(" ", column) + t.write(func(w *writer) { w.block(value, column) })
	if ownLine {
		return []splice{{t.lineStart(e.value), e.end, text}}
	}
	eol := t.lineEnd(e.end)
	return []splice{{e.after, e.end, ""}, {eol, eol, t.layout.eol + text}}
}

// replaceElement writes a collection in block style behind its dash.
func (t *tree) replaceElement(e entry, value *yaml.Node) []splice {
	if e.value == e.after {
		column := t.column(e.start) + len("- ")
		return []splice{{e.value, e.end, " " + t.write(func(w *writer) { w.block(value, column) })}}
	}
	column := t.column(e.value)
	return []splice{{e.value, e.end, t.write(func(w *writer) { w.block(value, column) })}}
}

// withoutLines is the splice that removes the lines from that of one offset to
// that of another.
func (t *tree) withoutLines(from, to int) splice {
	s := splice{from: t.lineStart(from), to: t.nextLine(to)}
	if t.at(s.to-1) != '\n' && s.from > 0 { // the last line of a file that does not end with a line break
		s.from = t.lineEnd(s.from - 1)
		s.to = len(t.text)
	}
	return s
}
