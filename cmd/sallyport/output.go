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

func formatNames() string {
	last := len(formats) - 1
	return strings.Join(formats[:last], ", ") + " or " + formats[last]
}

// An output is a format and where it goes; an empty file is standard output.
type output struct{ format, file string }

func parseOutputs(values []string) ([]output, error) {
	var outputs []output
	toStdout := 0
	for _, v := range values {
		format, file, _ := strings.Cut(v, "=")
		if !slices.Contains(formats, format) {
			return nil, fmt.Errorf("--output %q: want %s, or one of them with =FILE", v, formatNames())
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

func (o *output) write(stdout io.Writer, report *lint.Report, failOn policy.Action) (err error) {
	w := stdout
	if o.file != "" {
		file, err := os.Create(o.file)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		w = file
	}
	switch o.format {
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
