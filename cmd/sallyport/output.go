// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// formats are those that a report can be written in.
var formats = []string{"text", "json", "sarif", "junit", "github"}

// enumeration lists values as a sentence does.
func enumeration(values []string) string {
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// An output is a format and where it goes; an empty file is standard output.
type output struct{ format, file string }

func parseOutputs(values, formats []string) ([]output, error) {
	var outputs []output
	toStdout := 0
	for _, v := range values {
		format, file, _ := strings.Cut(v, "=")
		if !slices.Contains(formats, format) {
			return nil, fmt.Errorf("--output %q: want %s, or one of them with =FILE", v, enumeration(formats))
		}
		if file == "" {
			toStdout++
		}
		outputs = append(outputs, output{format, file})
	}
	if toStdout > 1 {
		return nil, errors.New("--output: only one format can go to standard output; write the others as FORMAT=FILE")
	}
	return outputs, nil
}

// to opens where the output goes, and has it written.
func (o *output) to(stdout io.Writer, write func(io.Writer) error) (err error) {
	if o.file == "" {
		return write(stdout)
	}
	file, err := os.Create(o.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return write(file)
}

func writeReport(w io.Writer, format string, report *lint.Report, failOn policy.Action) error {
	switch format {
	case "json":
		return report.WriteJSON(w)
	case "sarif":
		return report.WriteSARIF(w, buildVersion())
	case "junit":
		return report.WriteJUnit(w, failOn)
	case "github":
		return report.WriteGitHub(w)
	default:
		return report.WriteText(w, isColourful(w))
	}
}

// isColourful reports whether colours are wanted (https://no-color.org).
func isColourful(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }

// isTerminal reports whether it is a terminal that understands control sequences.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}
