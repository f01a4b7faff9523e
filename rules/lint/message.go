// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"errors"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

// message says which field is wrong, and how.
func (f *Finding) message() string {
	if f.Field == "" {
		return f.Detail
	}
	return f.Field + ": " + f.Detail
}

// remark is what a verdict says beyond its action, with a blank before it, or
// nothing.
func (f *Finding) remark() string {
	switch v := f.Verdict; {
	case f.Baselined:
		return " (in the baseline)"
	case v.Exemption != "":
		return " (exempted by " + v.Exemption + " until " + v.ExemptUntil.UTC().Format(time.RFC3339) + ")"
	case !v.EnforceFrom.IsZero():
		return " (denied from " + v.EnforceFrom.UTC().Format(time.DateOnly) + ")"
	default:
		return ""
	}
}

// endColumn is the column after the value. Columns count characters, the width
// counts bytes.
func (f *Finding) endColumn() int {
	line := []rune(f.Document.SourceLine(f.Line))
	rest := string(line[min(f.Column-1, len(line)):])
	return f.Column + max(1, utf8.RuneCountInString(rest[:min(f.Width, len(rest))]))
}

// objectName is the kind, the namespace if there is one, and the name.
func objectName(doc *manifest.Document) string {
	o := reference(doc)
	if o.Namespace == "" {
		return o.Kind + "/" + o.Name
	}
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// A faultyInput is something that could not be read.
type faultyInput struct {
	file         string // "" if the message says it
	line, column int    // 0 if it is about all of the file
	message      string
}

func (r *Report) faultyInputs() []faultyInput {
	var faults []faultyInput
	for _, err := range r.Unreadable {
		fault := faultyInput{message: err.Error()}
		if at, ok := errors.AsType[*manifest.Error](err); ok {
			fault = faultyInput{file: at.File, line: at.Line, column: at.Column, message: at.Message}
		} else if path, ok := errors.AsType[*fs.PathError](err); ok {
			fault = faultyInput{file: path.Path, message: path.Op + ": " + path.Err.Error()}
		}
		faults = append(faults, fault)
	}
	return faults
}

// A gap is one reason why a rule could not tell, with the documents that it
// could not tell about: there may be many.
type gap struct {
	rule      *analysis.Rule
	reason    string
	documents []*manifest.Document
}

// gaps returns what was not evaluated, in the order of the report.
func (r *Report) gaps() []*gap {
	type cause struct{ rule, reason string }
	known := map[cause]*gap{}
	var gaps []*gap
	for _, n := range r.NotEvaluated {
		c := cause{n.Rule.Name, n.Reason}
		if known[c] == nil {
			known[c] = &gap{rule: n.Rule, reason: n.Reason}
			gaps = append(gaps, known[c])
		}
		known[c].documents = append(known[c].documents, n.Document)
	}
	return gaps
}
