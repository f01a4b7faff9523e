// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules/lint"
)

// baselineFlags say which findings are known.
type baselineFlags struct {
	file  string
	write bool
}

func (f *baselineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "baseline", "", "`file` of the findings that are known: they are not shown and do not fail")
	flags.BoolVar(&f.write, "write-baseline", false, "write the findings of today to the file of --baseline")
	// A part of the rules would leave the findings of all others out of the file.
	for _, other := range []string{"only", "skip"} {
		cmd.MarkFlagsMutuallyExclusive("write-baseline", other)
	}
}

// read returns the baseline, or nil without one.
func (f *baselineFlags) read() (*lint.Baseline, error) {
	switch {
	case f.file == "" && f.write:
		return nil, usageError(errors.New("--write-baseline: name the file with --baseline FILE"))
	case f.file == "", f.write:
		return nil, nil
	}
	data, err := os.ReadFile(f.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError(fmt.Errorf("--baseline: %w; the first time add --write-baseline", err))
	}
	if err != nil {
		return nil, usageError(fmt.Errorf("--baseline: %w", err))
	}
	baseline, err := lint.ParseBaseline(data)
	if err != nil {
		return nil, usageError(fmt.Errorf("--baseline %s: %w", f.file, err))
	}
	return baseline, nil
}

// apply marks what is known in the report, or makes all of it known from now on.
func (f *baselineFlags) apply(report *lint.Report, known *lint.Baseline, diagnostics io.Writer) error {
	if f.write {
		known = report.Baseline()
		if err := writeBaseline(f.file, known); err != nil {
			return usageError(fmt.Errorf("--baseline: %w", err))
		}
	}
	if known == nil {
		return nil
	}
	gone := report.Accept(known)
	switch {
	case f.write:
		fmt.Fprintf(diagnostics, "%s: %s known from now on\n", f.file, findings(report.Baselined()))
	case gone > 0:
		fmt.Fprintf(diagnostics, "%s: gone since it was written: %s; write it again, so that they cannot come back\n", f.file, findings(gone))
	}
	return nil
}

func findings(n int) string {
	if n == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", n)
}

func writeBaseline(path string, baseline *lint.Baseline) error {
	var text bytes.Buffer
	if err := baseline.Write(&text); err != nil {
		return err
	}
	if err := replaceFile(path, text.Bytes()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644) //nolint:gosec // for all who read the repository
}
