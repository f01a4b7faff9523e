// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A printer writes what the demo shows, in colour on a terminal.
type printer struct {
	out    io.Writer
	colour bool
}

func newPrinter(out io.Writer) *printer {
	file, ok := out.(*os.File)
	return &printer{out: out, colour: ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == ""}
}

// The colours: SGR codes of ECMA-48.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *printer) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p *printer) line(text string) { fmt.Fprintln(p.out, text) }

func (p *printer) step(text string) { p.line(p.paint(dim, "• "+text)) }

func (p *printer) file(name string) {
	p.line("")
	p.line(p.paint(bold, "kubectl apply -f deploy/samples/"+name))
}

func (p *printer) sample(s *sample, r *result) {
	verdict, colour := "admitted", green
	switch {
	case r.refused:
		verdict, colour = "refused", red
	case r.diff != "":
		verdict, colour = "admitted and completed", yellow
	}
	p.line(fmt.Sprintf("  %s  %s", p.paint(colour, verdict), s))
	if r.message != "" {
		p.block(r.message, "")
	}
	if r.diff != "" {
		p.diff(r.diff)
	}
}

func (p *printer) block(text, colour string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if colour != "" {
			line = p.paint(colour, line)
		}
		p.line("      " + line)
	}
}

func (p *printer) diff(text string) {
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "diff ") || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++") || strings.HasPrefix(line, "@@"):
		case strings.HasPrefix(line, "+"):
			p.block(line, green)
		case strings.HasPrefix(line, "-"):
			p.block(line, red)
		default:
			p.block(line, dim)
		}
	}
}
