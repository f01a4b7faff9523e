// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"embed"
	"fmt"
	"path"
	"regexp"
	"slices"
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
	for _, e := range examplesOf(r) {
		fmt.Fprintf(&b, "\n%s, for example:\n\n%s", e.verdict, indent(e.object))
	}
	return b.String()
}

func explainMutator(m *analysis.Mutator) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nChanges %s.%s\n", m.Name, m.Doc, kindNames(m.Kinds()), reads(m.Reads))
	if before, after := firstCase(m.Name, "in/", everything), firstCase(m.Name, "out/", everything); before != "" {
		fmt.Fprintf(&b, "\nFor example, this:\n\n%s\nbecomes this:\n\n%s", indent(before), indent(after))
	}
	return b.String()
}

// An example is a tested case and what becomes of it.
type example struct{ verdict, object string }

// examplesOf returns the first case of each verdict that a rule comes to.
func examplesOf(r *analysis.Rule) []example {
	warns := func(data string) bool { return strings.Contains(data, " # warn `") }
	denied := cmp.Or(firstCase(r.Name, "offline/", everything), firstCase(r.Name, "deny/", everything))
	if r.Severity == analysis.Warning {
		denied = cmp.Or(firstCase(r.Name, "allow/", warns), denied)
	}
	verdict := "Denied"
	switch r.Severity {
	case analysis.Warning:
		verdict = "Warned about"
	case analysis.Off:
		verdict = "Denied where a policy says so"
	case analysis.Error:
	}
	allowed := firstCase(r.Name, "allow/", func(data string) bool { return !warns(data) })
	return slices.DeleteFunc([]example{{verdict, denied}, {"Allowed", allowed}}, func(e example) bool { return e.object == "" })
}

func everything(string) bool { return true }

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

// firstCase returns the first case in a folder of the archive that is as wanted,
// without the comments that are for the tests.
func firstCase(name, folder string, wanted func(data string) bool) string {
	file := path.Join(path.Dir(name), "testdata", strings.ReplaceAll(path.Base(name), "-", "_")+".txtar")
	data, err := Cases.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, f := range txtar.Parse(data).Files {
		if strings.HasPrefix(f.Name, folder) && strings.Count(f.Name, ".") == 1 && wanted(string(f.Data)) {
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
