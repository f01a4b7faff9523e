// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// WriteGitHub writes the report as workflow commands, of which GitHub makes
// annotations: errors of what cannot be read or
// is denied, warnings, and notices of all else
// but what is in a baseline. What was not evaluated comes last and as one, since GitHub shows ten of a sort for a step.
func (r *Report) WriteGitHub(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, p := range r.Panics {
		workflowCommand(out, "error", "title="+escapeProperty.Replace(p.Name), p.Error())
	}
	for _, f := range r.faultyInputs() {
		place := "title=cannot be read"
		if f.file != "" {
			place = "file=" + escapeProperty.Replace(cleanPath(f.file)) + "," + place
		}
		if f.line > 0 {
			place += fmt.Sprintf(",line=%d,col=%d", f.line, f.column)
		}
		workflowCommand(out, "error", place, f.message)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Baselined {
			continue
		}
		place := fmt.Sprintf("file=%s,line=%d,col=%d,endColumn=%d,title=%s",
			escapeProperty.Replace(cleanPath(f.Document.File)), f.Line, f.Column, f.endColumn(), f.Rule.Name)
		workflowCommand(out, annotation(f.action()), place, f.message()+f.remark())
	}
	var unknown []string
	for _, g := range r.gaps() {
		unknown = append(unknown, fmt.Sprintf("%s of %s: %s", g.rule.Name, plural(len(g.documents), "object"), g.reason))
	}
	if len(unknown) > 0 {
		workflowCommand(out, "notice", "title=not evaluated", strings.Join(unknown, "\n"))
	}
	return out.Flush()
}

func annotation(action policy.Action) string {
	switch action {
	case policy.Deny:
		return "error"
	case policy.Warn:
		return "warning"
	default:
		return "notice"
	}
}

var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// workflowCommand writes one command, whose properties are escaped already.
func workflowCommand(out *bufio.Writer, name, properties, message string) {
	fmt.Fprintf(out, "::%s %s::%s\n", name, properties, escapeData.Replace(message)) // Flush tells of errors
}

// cleanPath is a path as it stands in repositories: "./" is not part of it.
func cleanPath(file string) string { return path.Clean(filepath.ToSlash(file)) }
