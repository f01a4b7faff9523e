// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"path"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

//go:generate go test -run ^TestReadme$ -update .

const readmeHead = `<!-- Generated from the rules and their cases by go generate. DO NOT EDIT. -->

# Rules

What Sallyport checks, and what it changes. The same texts come from
` + "`sallyport explain RULE`" + `; every example is a tested case.

What a finding leads to is the policy's decision. The table says what it is where
no policy says otherwise: some rules have parts that are graver or lighter.

To add a rule, write ` + "`<kind>/<subject>.go`" + ` and its cases
` + "`<kind>/testdata/<subject>.txtar`" + `, add it to the list of its package, and
run ` + "`make generate`" + `.

| Rule | What it is about | Kinds | Default |
|---|---|---|---|
`

// Readme returns the catalogue of all rules and mutators as Markdown.
func Readme() string {
	var b strings.Builder
	b.WriteString(readmeHead)
	for _, r := range All {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", r.Name, anchor(r.Name), r.Title(), kindNames(r.Kinds()), shortDefaults[r.Severity])
	}
	for _, m := range Mutators {
		title, _, _ := strings.Cut(m.Doc, "\n")
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | changes |\n", m.Name, anchor(m.Name), title, kindNames(m.Kinds()))
	}
	group := ""
	for _, r := range All {
		if g := path.Dir(r.Name); g != group {
			group = g
			fmt.Fprintf(&b, "\n## %s\n", g)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\nChecks %s; %s.%s\n", r.Name, sentence(r.Doc), kindNames(r.Kinds()), defaults[r.Severity], reads(r.Reads))
		for _, e := range examplesOf(r) {
			fmt.Fprintf(&b, "\n%s, for example:\n\n```yaml\n%s```\n", e.verdict, e.object)
		}
	}
	b.WriteString("\n## mutate\n")
	for _, m := range Mutators {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\nChanges %s.%s\n", m.Name, sentence(m.Doc), kindNames(m.Kinds()), reads(m.Reads))
		if before := firstCase(m.Name, "in/", everything); before != "" {
			fmt.Fprintf(&b, "\nFor example, this:\n\n```yaml\n%s```\n\nbecomes this:\n\n```yaml\n%s```\n", before, firstCase(m.Name, "out/", everything))
		}
	}
	return b.String()
}

var shortDefaults = map[analysis.Severity]string{analysis.Error: "denies", analysis.Warning: "warns", analysis.Off: "off"}

// anchor is what a heading is called in links to it.
func anchor(name string) string { return strings.ReplaceAll(name, "/", "") }

// sentence makes a sentence of the title line of a doc, and keeps Markdown from
// reading asterisks in it as emphasis.
func sentence(doc string) string {
	title, text, _ := strings.Cut(doc, "\n")
	title = strings.ToUpper(title[:1]) + title[1:] + "."
	return strings.NewReplacer("*", `\*`, "<", "&lt;").Replace(title + "\n" + text)
}
