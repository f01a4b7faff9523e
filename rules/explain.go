// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"embed"
	"fmt"
	"path"
	"regexp"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// Cases holds the tested cases of all rules and mutators: for the rule
// "package/some-subject" in package/testdata/some_subject.txtar.
//
//go:embed */testdata/*.txtar
var Cases embed.FS

// Names returns the names of all rules and mutators.
func Names() []string {
	var names []string
	for _, r := range All {
		names = append(names, r.Name)
	}
	for _, m := range Mutators {
		names = append(names, m.Name)
	}
	return names
}

// Explain returns what the catalogue says of a rule or a mutator, with the first
// of its tested cases as examples. It reports false for names that do not exist.
func Explain(name string) (string, bool) {
	for _, r := range All {
		if r.Name == name {
			return explainRule(r), true
		}
	}
	for _, m := range Mutators {
		if m.Name == name {
			return explainMutator(m), true
		}
	}
	return "", false
}

// defaults says what a severity leads to unless a policy says otherwise.
var defaults = map[analysis.Severity]string{
	analysis.Error:   "denies unless a policy says otherwise",
	analysis.Warning: "warns unless a policy says otherwise",
	analysis.Off:     "is off unless a policy says otherwise",
}

func explainRule(r *analysis.Rule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", r.Name, r.Doc)
	fmt.Fprintf(&b, "Checks %s; %s.%s\n", kindNames(r.Kinds()), defaults[r.Severity], reads(r.Reads))
	if example := cmp.Or(firstCase(r.Name, "offline/"), firstCase(r.Name, "deny/")); example != "" {
		fmt.Fprintf(&b, "\nDenied, for example:\n\n%s", indent(example))
	}
	if example := firstCase(r.Name, "allow/"); example != "" {
		fmt.Fprintf(&b, "\nAllowed, for example:\n\n%s", indent(example))
	}
	return b.String()
}

func explainMutator(m *analysis.Mutator) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nChanges %s.%s\n", m.Name, m.Doc, m.Kind().Kind, reads(m.Reads))
	if before := firstCase(m.Name, "in/"); before != "" {
		fmt.Fprintf(&b, "\nFor example, this:\n\n%s\nbecomes this:\n\n%s", indent(before), indent(firstCase(m.Name, "out/")))
	}
	return b.String()
}

func kindNames(kinds []*analysis.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Kind)
	}
	return strings.Join(names, ", ")
}

func reads(kinds []*analysis.Kind) string {
	if len(kinds) == 0 {
		return ""
	}
	return " Looks up " + kindNames(kinds) + " objects of the mesh."
}

var expectation = regexp.MustCompile("\\s+# (want|warn|audit) `.*")

// firstCase returns the first case in a folder of the archive, without the
// comments that are for the tests.
func firstCase(name, folder string) string {
	file := path.Join(path.Dir(name), "testdata", strings.ReplaceAll(path.Base(name), "-", "_")+".txtar")
	data, err := Cases.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, f := range txtar.Parse(data).Files {
		if strings.HasPrefix(f.Name, folder) && strings.Count(f.Name, ".") == 1 {
			return expectation.ReplaceAllString(string(f.Data), "  # <- here")
		}
	}
	return ""
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}
