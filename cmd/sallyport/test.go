// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/suite"
)

var testFormats = []string{"text", "json", "junit"}

type testFlags struct {
	common  commonFlags
	context []string
	rules   selectFlags
	outputs []string
	run     string
	verbose bool
}

func newTest() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test PATH...",
		Short: "Test policies with objects that should be allowed or denied",
		Long: `Test policies with objects, and what is expected of them. A path is a suite, or a
folder with suites anywhere below it. A suite is a folder, or a txtar archive (several
files in one, each below a line "-- NAME --"), of these files:

  allow/NAME.yaml   objects of which nothing is denied
  deny/NAME.yaml    objects of which something is denied
  old/NAME.yaml     those objects before the update that is tested
  out/NAME.yaml     those objects as they are stored, with what is filled in
  mesh/NAME.yaml    other objects of the mesh
  policy.yaml, policies/*.yaml   policies, exemptions and namespaces
  config.yaml       facts about the mesh

NAME.policy.yaml and NAME.config.yaml beside a case take the place of the suite's. What
--policy and --context give holds for all suites.

A comment says which finding is due on its line, by a regular expression for its
message or its rule:

  hosts: ["*.example.com"]  # want "must not be a wildcard"

"want" stands for a denial, "warn" for a warning, "audit" for what is only recorded or
exempted. Every denial must be expected; other findings may be. A line of its own such
as "# at 2027-01-01T00:00:00Z" sets the clock of a case. The objects of a case and those
under mesh/ are the whole mesh.

Exit code 0 means that all cases passed, 1 that one did not, 2 wrong usage or
configuration, 3 that a suite could not be read, 5 a fault of sallyport.`,
		Example: `  sallyport test --policy policies/ tests/
  sallyport test -v --run payments tests/
  sallyport test --policy policies/ -o text -o junit=result.xml tests/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return test(cmd, &f, args) },
	}
	f.common.add(cmd)
	f.rules.add(cmd)
	flags := cmd.Flags()
	addContext(cmd, &f.context)
	flags.StringArrayVarP(&f.outputs, "output", "o", []string{"text"}, "`format` "+enumeration(testFormats)+", or format=FILE (repeatable)")
	flags.StringVar(&f.run, "run", "", "run the cases whose SUITE/CASE matches the regular `expression` only")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every case, with all that was found")
	complete(cmd, "output", testFormats...)
	return cmd
}

func test(cmd *cobra.Command, f *testFlags, paths []string) error {
	outputs, err := parseOutputs(f.outputs, testFormats)
	if err != nil {
		return usageError(err)
	}
	opts, err := f.options(cmd.InOrStdin())
	if err != nil {
		return err
	}
	report := &suite.Report{}
	suites := readSuites(paths, func(err error) { report.Unreadable = append(report.Unreadable, err) })
	for _, s := range suites {
		result, err := s.Run(opts)
		if err != nil {
			report.Unreadable = append(report.Unreadable, err)
			continue
		}
		report.Results = append(report.Results, result)
	}
	for _, err := range report.Unreadable {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
	}
	if n := report.Count(); n.Cases == 0 && n.Unreadable == 0 {
		return usageError(f.nothing(len(suites)))
	}
	for _, o := range outputs {
		err := o.to(cmd.OutOrStdout(), func(w io.Writer) error { return writeTests(w, o.format, report, f.verbose) })
		if err != nil {
			return usageError(fmt.Errorf("--output: %w", err))
		}
	}
	return testVerdict(report)
}

func (f *testFlags) nothing(suites int) error {
	if suites == 0 {
		return errors.New("nothing to test: no file below allow/ or deny/ in a folder or a .txtar archive")
	}
	return fmt.Errorf("--run %q: matches no case; they are named as --verbose shows them, after their suite", f.run)
}

func (f *testFlags) options(stdin io.Reader) (*suite.Options, error) {
	judge, err := f.common.lintOptions(stdin)
	if err != nil {
		return nil, err
	}
	if judge.Suite, err = f.rules.suite(); err != nil {
		return nil, err
	}
	judge.Mutators = rules.Mutators
	opts := &suite.Options{Lint: *judge}
	if opts.Policies, err = readPolicyDocuments(f.common.policies, stdin); err != nil {
		return nil, usageError(err)
	}
	var errs []error
	readDocuments(f.context, stdin,
		func(doc *manifest.Document) { opts.Context = append(opts.Context, doc) },
		func(err error) { errs = append(errs, err) })
	if err := errors.Join(errs...); err != nil {
		return nil, &exitError{code: exitUnreadable, err: err}
	}
	match, err := regexp.Compile(f.run)
	if err != nil {
		return nil, usageError(fmt.Errorf("--run: %w", err))
	}
	opts.Match = match.MatchString
	return opts, nil
}

func writeTests(w io.Writer, format string, report *suite.Report, verbose bool) error {
	switch format {
	case "json":
		return report.WriteJSON(w)
	case "junit":
		return report.WriteJUnit(w)
	default:
		return report.WriteText(w, verbose)
	}
}

// testVerdict turns a report into the exit code.
func testVerdict(report *suite.Report) error {
	if panics := report.Panics(); len(panics) > 0 {
		return panicError(panics[0])
	}
	switch n := report.Count(); {
	case n.Unreadable > 0:
		return &exitError{code: exitUnreadable, err: errors.New("some suites could not be read, see above; the others were run")}
	case n.Failed > 0:
		return &exitError{code: exitFindings}
	default:
		return nil
	}
}
