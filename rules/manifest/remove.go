// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"go.yaml.in/yaml/v3"
)

// remove removes entry i of a collection that has others. Comments behind it on
// its last line go with it; those above and below stay.
func (t *tree) remove(parent *yaml.Node, i int) []splice {
	e := t.entry(parent, i)
	switch {
	case isFlow(parent):
		return t.removeFlow(parent, i, e)
	case t.isFirst(e.start):
		return []splice{t.withoutLines(e.start, e.end)}
	default: // the first behind a dash: what follows moves up to it
		next := t.lineEnd(e.end)
		for isSpace(rune(t.at(next))) {
			next++
		}
		return []splice{{from: e.start, to: next}}
	}
}

func (t *tree) removeFlow(parent *yaml.Node, i int, e entry) []splice {
	var splices []splice
	behind := t.skip(e.end)
	hasComma := t.at(behind) == ','
	if !hasComma && i > 0 {
		before := t.expect(t.entry(parent, i-1).end, ',') - 1
		splices = append(splices, splice{from: before, to: before + 1})
	}
	end := e.end
	if hasComma && t.lineStart(behind) <= e.end {
		end = behind + 1
	} else if hasComma {
		splices = append(splices, splice{from: behind, to: behind + 1})
	}
	switch tail := flowTail.Find(t.text[end:t.lineEnd(end)]); {
	case tail != nil && t.isFirst(e.start):
		splices = append(splices, t.withoutLines(e.start, end))
	case hasComma:
		splices = append(splices, splice{from: e.start, to: t.skipSpace(end)})
	default:
		splices = append(splices, splice{from: t.backSpace(e.start), to: end})
	}
	return splices
}

// backSpace skips blanks backwards.
func (t *tree) backSpace(pos int) int {
	for t.at(pos-1) == ' ' || t.at(pos-1) == '\t' {
		pos--
	}
	return pos
}
