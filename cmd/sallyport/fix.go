// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

type fixFlags struct {
	common commonFlags
	mesh   meshFlags
	diff   bool
	write  bool
	check  bool
}

func newFix() *cobra.Command {
	var f fixFlags
	cmd := &cobra.Command{
		Use:   "fix [PATH...]",
		Short: "Fill in files what admission would fill in",
		Long: `Make the changes in files that mutators would make at admission, so that what is
under version control is what runs. Everything else stays as it is, byte for byte:
comments, order, quotes and indentation. Paths are files, folders (.yaml, .yml and
.json) and "-", which is standard input, as it is without any path.

The result goes to standard output; files one after the other, as documents of one
stream. What is merged in or aliased in YAML is not changed, but told.

Exit code 0 means that all is done, 1 that --check has found something to do, 2
wrong usage or configuration, 3 that some input could not be read or not be fixed
(a file that cannot be read from end to end is left as it is; all others are fixed
nevertheless), 5 a fault of sallyport.`,
		Example: `  sallyport fix --diff deploy/
  sallyport fix -w --policy standard.yaml egress.yaml
  helm template my-chart | sallyport fix -n shop | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error { return fix(cmd, &f, args) },
	}
	f.common.add(cmd)
	f.mesh.add(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.diff, "diff", false, "show what would change as a unified diff")
	flags.BoolVarP(&f.write, "write", "w", false, "write the result to the files")
	flags.BoolVar(&f.check, "check", false, "list the files that would change, and exit with 1 if there are any")
	cmd.MarkFlagsMutuallyExclusive("write", "check")
	return cmd
}

func fix(cmd *cobra.Command, f *fixFlags, paths []string) error {
	if len(paths) == 0 {
		paths = []string{stdinName}
	}
	opts, err := f.common.lintOptions(cmd.InOrStdin())
	if err != nil {
		return err
	}
	opts.Complete = f.mesh.complete
	opts.Mutators = rules.Mutators
	x := &fixer{flags: f, linter: lint.New(*opts), stdin: cmd.InOrStdin(), out: cmd.OutOrStdout(), diagnostics: cmd.ErrOrStderr()}
	edits, err := untilDone(cmd.Context(), func() ([]manifest.Edit, error) { return x.edits(paths) })
	if err != nil {
		return err
	}
	for _, file := range x.files {
		if err := interrupted(cmd.Context()); err != nil {
			return err
		}
		if err := x.fix(file, edits); err != nil {
			return usageError(err)
		}
	}
	switch {
	case x.failures > 0:
		return &exitError{code: exitUnreadable, err: errors.New("some input could not be read or fixed, see above")}
	case f.check && x.changed > 0:
		return &exitError{code: exitFindings}
	default:
		return nil
	}
}

// A fixer reads files, fixes them and says what became of them.
type fixer struct {
	flags            *fixFlags
	linter           *lint.Linter
	stdin            io.Reader
	out, diagnostics io.Writer

	files    []*fixedFile
	failures int // of reading and fixing
	changed  int // files that change
	endsLine bool
	printed  int // files on standard output
}

type fixedFile struct {
	path string
	name string // in messages
	text []byte
	// unreadable is set if something in the file could not be read.
	unreadable bool
}

// edits reads everything and returns what to change.
func (x *fixer) edits(paths []string) ([]manifest.Edit, error) {
	readDocuments(x.flags.mesh.context, x.stdin, x.linter.AddContext, x.fail)
	x.read(paths)
	edits, err := x.linter.Fixes()
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	return edits, nil
}

func (x *fixer) fail(err error) {
	x.failures++
	fmt.Fprintln(x.diagnostics, err)
}

// read reads every file once.
func (x *fixer) read(paths []string) {
	for _, path := range paths {
		files, err := listFiles(path)
		if err != nil {
			x.fail(err)
		}
		for _, file := range files {
			file = filepath.Clean(file)
			if slices.ContainsFunc(x.files, func(f *fixedFile) bool { return f.path == file }) {
				continue
			}
			text, err := readAll(file, x.stdin)
			if err != nil {
				x.fail(err)
				continue
			}
			x.add(&fixedFile{path: file, name: displayName(file), text: text})
		}
	}
}

func (x *fixer) add(f *fixedFile) {
	x.files = append(x.files, f)
	fail := func(err error) {
		f.unreadable = true
		x.fail(err)
	}
	eachDocument(f.name, bytes.NewReader(f.text), x.linter.Add, fail)
}

func (x *fixer) fix(f *fixedFile, edits []manifest.Edit) error {
	text := f.text
	if !f.unreadable {
		own := slices.DeleteFunc(slices.Clone(edits), func(e manifest.Edit) bool { return e.Document.File != f.name })
		var refused []error
		text, refused = manifest.Apply(f.text, own)
		for _, err := range refused {
			x.fail(err)
		}
	}
	changed := !bytes.Equal(text, f.text)
	if changed {
		x.changed++
	}
	if changed && x.flags.diff {
		if err := writeDiff(x.out, f.name, f.text, text); err != nil {
			return err
		}
	}
	switch {
	case x.flags.write && f.path != stdinName:
		if changed {
			return replaceFile(f.path, text)
		}
	case x.flags.check && changed && !x.flags.diff:
		_, err := fmt.Fprintln(x.out, f.name)
		return err
	case !x.flags.check && !x.flags.diff:
		return x.print(text)
	}
	return nil
}

// print writes a file to standard output, as documents of their own.
func (x *fixer) print(text []byte) error {
	var between string
	if x.printed > 0 {
		if !x.endsLine {
			between = "\n"
		}
		between += "---\n"
	}
	x.printed++
	x.endsLine = len(text) == 0 || text[len(text)-1] == '\n'
	_, err := x.out.Write(append([]byte(between), text...))
	return err
}
