// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

type checkFlags struct {
	common   commonFlags
	cluster  bool
	access   clusterFlags
	mesh     meshFlags
	rules    selectFlags
	baseline baselineFlags
	outputs  []string
	failOn   string
	noMutate bool
}

func newCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Check files, or what is in the cluster, as admission would",
		Long: `Check the objects in files, in folders (.yaml, .yml and .json) and, as "-", on
standard input, with the verdicts that admission would give. Mutators are applied
first, as in admission. The objects are part of the mesh that rules look into.

With --cluster the mesh is that of the cluster, and so are the policies if none are
given; without paths its own objects are checked as they are stored, those of one
namespace with -n. Paths are checked against the cluster, as if they were applied.

With --baseline only findings count that are not in a file, which --write-baseline
makes of those that there are. They are known by rule, object and value, wherever
they stand; a further one of the same kind is new.

Exit code 0 means that there are no findings at or above --fail-on, 1 that there
are, 2 wrong usage or configuration, 3 that some input could not be read (all that
could is checked nevertheless), 4 that the cluster did not answer, 5 a fault of
sallyport.`,
		Example: `  sallyport check deploy/
  helm template my-chart | sallyport check -n shop -
  sallyport check --policy standard.yaml -o text -o json=result.json egress.yaml
  sallyport check -o github -o sarif=result.sarif -o junit=result.xml deploy/
  sallyport check --baseline known.json --write-baseline deploy/
  sallyport check --baseline known.json --skip 'virtualservice/*' deploy/
  sallyport check --cluster --kube-context staging -n shop`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !f.cluster {
				return usageError(errors.New("nothing to check: give files or folders, - for standard input, or --cluster"))
			}
			return check(cmd, &f, args)
		},
	}
	f.common.add(cmd)
	f.mesh.add(cmd)
	f.rules.add(cmd)
	f.baseline.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.outputs, "output", "o", []string{"text"}, "`format` "+enumeration(formats)+", or format=FILE (repeatable)")
	flags.StringVar(&f.failOn, "fail-on", "deny", "what exit code 1 is for: `deny`, or warn as well")
	flags.BoolVar(&f.noMutate, "no-mutate", false, "check the text as written, without what admission would fill in")
	flags.BoolVar(&f.cluster, "cluster", false, "check what is in the cluster, or paths against it")
	f.access.add(flags)
	complete(cmd, "output", formats...)
	complete(cmd, "fail-on", "deny", "warn")
	return cmd
}

func check(cmd *cobra.Command, f *checkFlags, paths []string) error {
	if f.failOn != "deny" && f.failOn != "warn" {
		return usageError(fmt.Errorf("--fail-on %q: want deny or warn", f.failOn))
	}
	outputs, err := parseOutputs(f.outputs, formats)
	if err != nil {
		return usageError(err)
	}
	known, err := f.baseline.read()
	if err != nil {
		return err
	}
	c := &checker{flags: f, in: cmd.InOrStdin(), bar: newProgress(cmd.ErrOrStderr())}
	report, err := untilDone(cmd.Context(), func() (*lint.Report, error) { return c.report(cmd, paths) })
	c.bar.end()
	if err != nil {
		return err
	}
	for _, err := range report.Unreadable {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
	}
	if err := f.baseline.apply(report, known, cmd.ErrOrStderr()); err != nil {
		return err
	}
	for _, o := range outputs {
		err := o.to(cmd.OutOrStdout(), func(w io.Writer) error { return writeReport(w, o.format, report, f.failAction()) })
		if err != nil {
			return usageError(fmt.Errorf("write %s: %w", o.format, err))
		}
	}
	return verdict(f, report)
}

// A checker reads and judges.
type checker struct {
	flags *checkFlags
	in    io.Reader
	bar   *progress
}

func (c *checker) report(cmd *cobra.Command, paths []string) (*lint.Report, error) {
	f := c.flags
	opts, err := f.common.lintOptions(c.in)
	if err != nil {
		return nil, err
	}
	if opts.Suite, err = f.rules.suite(); err != nil {
		return nil, err
	}
	opts.Complete = f.mesh.complete || f.cluster
	if !f.noMutate && len(paths) > 0 {
		opts.Mutators = rules.Mutators
	}
	opts.Judged = func() { c.bar.add(1) }
	var unreadable []error
	fail := func(err error) { unreadable = append(unreadable, err) }
	linter := lint.New(*opts)
	if f.cluster {
		c.bar.begin("asking the cluster", 0)
		if linter, err = clusterLinter(cmd, f, opts, len(paths) == 0, fail); err != nil {
			return nil, err
		}
	}
	r := &documentReader{stdin: c.in, progress: c.bar}
	r.read(f.mesh.context, linter.AddContext, fail)
	r.read(paths, linter.Add, fail)
	c.bar.begin("checking", int64(linter.Len()))
	report := linter.Report()
	report.Unreadable = unreadable
	return report, nil
}

// failAction is the mildest action that exit code 1 is for.
func (f *checkFlags) failAction() policy.Action {
	if f.failOn == "warn" {
		return policy.Warn
	}
	return policy.Deny
}

func panicError(p *analysis.PanicError) error {
	return &exitError{code: exitInternal, err: fmt.Errorf("%w\n%s", p, p.Stack)}
}

// verdict turns a report into the exit code.
func verdict(f *checkFlags, report *lint.Report) error {
	switch {
	case len(report.Panics) > 0:
		return panicError(report.Panics[0])
	case len(report.Unreadable) > 0:
		return &exitError{code: exitUnreadable, err: errors.New("some input could not be read, see above; the rest was checked")}
	case report.Count(policy.Deny) > 0, f.failOn == "warn" && report.Count(policy.Warn) > 0:
		return &exitError{code: exitFindings}
	default:
		return nil
	}
}
