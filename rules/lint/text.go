// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// The colours: SGR codes of ECMA-48.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// WriteText writes the report for people: each finding with the line that it is
// about, unless it is in a baseline, and what was counted.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	t := &textWriter{out: bufio.NewWriter(w), colour: colour}
	for i := range r.Findings {
		if f := &r.Findings[i]; !f.Baselined {
			t.finding(f)
		}
	}
	t.notEvaluated(r)
	t.summary(r)
	return t.out.Flush()
}

type textWriter struct {
	out    *bufio.Writer
	colour bool
}

func (t *textWriter) printf(format string, args ...any) {
	fmt.Fprintf(t.out, format, args...) // Flush tells of errors
}

func (t *textWriter) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (t *textWriter) finding(f *Finding) {
	t.printf("%s %s: %s: %s (%s)\n", t.paint(bold, fmt.Sprintf("%s:%d:%d:", f.Document.File, f.Line, f.Column)),
		t.verdict(f), f.Field, f.Detail, f.Rule.Name)
	line := f.Document.SourceLine(f.Line)
	number := fmt.Sprintf("%5d", f.Line)
	t.printf("%s %s\n", t.paint(dim, number+" |"), line)
	t.printf("%s %s%s\n\n", t.paint(dim, "      |"), indentLike(line, f.Column-1), t.paint(red, strings.Repeat("^", f.endColumn()-f.Column)))
}

func (t *textWriter) verdict(f *Finding) string {
	switch v := f.Verdict; {
	case v.Exemption != "":
		return t.paint(dim, "exempted by "+v.Exemption)
	case v.Action == policy.Deny:
		return t.paint(red, "denied")
	case v.Action == policy.Warn && !v.EnforceFrom.IsZero():
		return t.paint(yellow, "warning, denied from "+v.EnforceFrom.UTC().Format(time.DateOnly))
	case v.Action == policy.Warn:
		return t.paint(yellow, "warning")
	case !v.EnforceFrom.IsZero():
		return t.paint(dim, "audit, denied from "+v.EnforceFrom.UTC().Format(time.DateOnly))
	default:
		return t.paint(dim, "audit")
	}
}

// indentLike returns blanks that are as wide as the first n characters of a line.
func indentLike(line string, n int) string {
	start := []rune(line)
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(start[:min(n, len(start))]))
}

func (t *textWriter) summary(r *Report) {
	denied, warned, audited := r.Count(policy.Deny), r.Count(policy.Warn), r.Count(policy.Audit)
	parts := []string{
		t.paintIf(denied, red, fmt.Sprintf("%d denied", denied)),
		t.paintIf(warned, yellow, fmt.Sprintf("%d warned", warned)),
	}
	if n := len(r.Unreadable); n > 0 {
		parts = append(parts, t.paint(red, fmt.Sprintf("%d could not be read", n)))
	}
	for _, extra := range []struct {
		n    int
		text string
	}{
		{audited, "audited"}, {r.Exempted(), "exempted"}, {r.Baselined(), "in the baseline"}, {len(r.NotEvaluated), "not evaluated"}, {r.Skipped, "of other kinds skipped"},
	} {
		if extra.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", extra.n, extra.text))
		}
	}
	t.printf("%s in %s: %s\n", plural(r.Objects, "object"), plural(r.Files, "file"), strings.Join(parts, ", "))
}

// notEvaluated says what could not be told, once for all objects with the same
// reason: there may be many.
func (t *textWriter) notEvaluated(r *Report) {
	gaps := r.gaps()
	for _, g := range gaps {
		t.printf("%s of %s: %s (%s)\n", t.paint(dim, "not evaluated"), plural(len(g.documents), "object"), g.reason, g.rule.Name)
	}
	if len(gaps) > 0 {
		t.printf("  to have it told, give the rest of the mesh with --context, or say --complete if this is all of it\n\n")
	}
}

func (t *textWriter) paintIf(n int, colour, text string) string {
	if n == 0 {
		return t.paint(green, text)
	}
	return t.paint(colour, text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
