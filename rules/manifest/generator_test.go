// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A textGenerator writes files as people do, in all styles.
type textGenerator struct {
	*rand.Rand
	out        *strings.Builder
	step, dash int
	comments   *int
}

func (g textGenerator) oneIn(n int) bool { return g.IntN(n) == 0 }

func (g textGenerator) pick(of ...string) string { return of[g.IntN(len(of))] }

// value returns a random value of JSON.
func (g textGenerator) value(depth int) any {
	switch n := g.IntN(8); {
	case depth > 0 && n < 2:
		m := map[string]any{}
		for range g.IntN(4) {
			m[g.key()] = g.value(depth - 1)
		}
		return m
	case depth > 0 && n < 4:
		s := []any{}
		for range g.IntN(4) {
			s = append(s, g.value(depth-1))
		}
		return s
	case n == 4:
		return g.IntN(1000)
	case n == 5:
		return g.oneIn(2)
	default:
		return g.pick("a", "on", "", "api.example.com", "*.example.com", "1e3", "two words", "a: b", "two\nlines", "é", "15s", "a,b", "- x", "#x", "'", `"`, "{{x}}")
	}
}

func (g textGenerator) key() string {
	return g.pick("a", "b", "hosts", "http", "a.b/c", "é", "on", "x y") + g.pick("", "1", "2", "3")
}

func (g textGenerator) file() string {
	g.out, g.comments = &strings.Builder{}, new(int)
	g.step, g.dash = 2+2*g.IntN(2), 2*g.IntN(2)
	if g.oneIn(8) {
		g.json()
		return g.out.String()
	}
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			g.out.WriteString(g.pick("---\n", "--- # x\n", "---\n\n"))
		}
		g.ownComment(0)
		if g.oneIn(4) {
			g.list()
		} else {
			g.out.WriteString("apiVersion: v1\nkind: A\n")
			g.mapping(0, 3)
		}
	}
	text := g.out.String()
	if g.oneIn(5) {
		text = strings.TrimRight(text, "\n")
	}
	if g.oneIn(4) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

func (g textGenerator) list() {
	g.out.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for range g.IntN(3) {
		indent := strings.Repeat(" ", g.dash)
		g.out.WriteString(indent + "- apiVersion: v1\n" + indent + "  kind: B\n")
		g.mapping(g.dash+2, 2)
	}
}

func (g textGenerator) json() {
	m := map[string]any{"apiVersion": "v1", "kind": "A"}
	for range 1 + g.IntN(4) {
		m[g.key()] = g.value(3)
	}
	data, _ := json.Marshal(m)
	if g.oneIn(2) {
		data, _ = json.MarshalIndent(m, "", g.pick(" ", "  ", "\t"))
	}
	g.out.Write(data)
	g.out.WriteString(g.pick("", "\n"))
}

// comment returns a comment with a number of its own, or nothing.
func (g textGenerator) comment() string {
	if !g.oneIn(4) {
		return ""
	}
	*g.comments++
	return fmt.Sprintf("#c%d#", *g.comments)
}

func (g textGenerator) ownComment(indent int) {
	if c := g.comment(); c != "" {
		g.out.WriteString(strings.Repeat(" ", indent) + c + "\n")
	}
	if g.oneIn(12) {
		g.out.WriteString("\n")
	}
}

func (g textGenerator) lineEnd() {
	if c := g.comment(); c != "" {
		g.out.WriteString(g.pick(" ", "  ", "\t") + c)
	}
	g.out.WriteString("\n")
}

// mapping writes members that begin at indent.
func (g textGenerator) mapping(indent, depth int) {
	used := map[string]bool{}
	for range 1 + g.IntN(4) {
		key := g.key()
		if used[key] {
			continue
		}
		used[key] = true
		g.ownComment(indent)
		g.out.WriteString(strings.Repeat(" ", indent) + g.scalarText(key) + ":")
		g.member(indent, depth)
		g.ownComment(indent + g.IntN(3))
	}
}

func (g textGenerator) member(indent, depth int) {
	switch n := g.IntN(8); {
	case depth > 0 && n < 2:
		g.lineEnd()
		g.ownComment(indent + g.step)
		g.mapping(indent+g.step, depth-1)
	case depth > 0 && n < 4:
		g.lineEnd()
		g.sequence(indent+g.dash, depth-1)
	case n == 4:
		g.out.WriteString(g.pick(" |", " |-", " |+", " >", " >-") + "\n")
		for range 1 + g.IntN(3) {
			g.out.WriteString(strings.Repeat(" ", indent+g.step) + g.pick("text", "# text", "  deeper", "a: b") + "\n" + g.pick("", "", "\n"))
		}
	case n == 5 && g.oneIn(2):
		g.lineEnd() // null
	default:
		g.out.WriteString(g.pick(" ", "  ", "\t"))
		g.inline(indent, depth)
		g.lineEnd()
	}
}

func (g textGenerator) sequence(indent, depth int) {
	for range 1 + g.IntN(3) {
		g.ownComment(indent)
		g.out.WriteString(strings.Repeat(" ", indent) + "-")
		if depth > 0 && g.oneIn(2) {
			g.out.WriteString(" " + g.scalarText(g.key()+"0") + ":")
			g.member(indent+2, depth-1)
			g.mapping(indent+2, depth-1)
			continue
		}
		g.out.WriteString(" ")
		g.inline(indent, depth)
		g.lineEnd()
	}
}

// inline writes a scalar or a collection in flow style.
func (g textGenerator) inline(indent, depth int) {
	v := g.value(min(depth, 2))
	data, _ := json.Marshal(v)
	switch v := v.(type) {
	case string:
		g.out.WriteString(g.scalarText(v))
	case []any:
		g.flowList(v, strings.Repeat(" ", indent+g.step))
	default:
		g.out.Write(data)
	}
}

func (g textGenerator) flowList(list []any, indent string) {
	lines := g.oneIn(3)
	g.out.WriteString("[")
	for i, v := range list {
		if lines {
			g.lineEnd()
			g.out.WriteString(indent)
		}
		data, _ := json.Marshal(v)
		g.out.Write(data)
		if i < len(list)-1 || g.oneIn(4) {
			g.out.WriteString(g.pick(",", ", ", ", "))
		}
	}
	if lines && g.oneIn(2) {
		g.lineEnd()
		g.out.WriteString(indent)
	}
	g.out.WriteString("]")
}

func (g textGenerator) scalarText(s string) string {
	if isPlain(s, true) && g.oneIn(2) {
		return s
	}
	if g.oneIn(2) && !strings.Contains(s, "\n") {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	data, _ := json.Marshal(s)
	return string(data)
}
