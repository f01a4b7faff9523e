// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

type checkFlags struct {
	common   commonFlags
	cluster  bool
	access   clusterFlags
	mesh     meshFlags
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

Exit code 0 means that there are no findings at or above --fail-on, 1 that there
are, 2 wrong usage or configuration, 3 that some input could not be read (all that
could is checked nevertheless), 5 a fault of sallyport.`,
		Example: `  sallyport check deploy/
  helm template my-chart | sallyport check -n shop -
  sallyport check --policy standard.yaml -o text -o json=result.json egress.yaml
  sallyport check -o github -o sarif=result.sarif -o junit=result.xml deploy/
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
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.outputs, "output", "o", []string{"text"}, "`format` "+formatNames()+", or format=FILE (repeatable)")
	flags.StringVar(&f.failOn, "fail-on", "deny", "what exit code 1 is for: deny, or warn as well")
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
	outputs, err := parseOutputs(f.outputs)
	if err != nil {
		return usageError(err)
	}
	opts, err := f.common.lintOptions(cmd.InOrStdin())
	if err != nil {
		return err
	}
	opts.Complete = f.mesh.complete || f.cluster
	if !f.noMutate && len(paths) > 0 {
		opts.Mutators = rules.Mutators
	}
	unreadable := 0
	fail := func(err error) {
		unreadable++
		fmt.Fprintln(cmd.ErrOrStderr(), err)
	}
	linter := lint.New(*opts)
	if f.cluster {
		if linter, err = clusterLinter(cmd, f, opts, len(paths) == 0, fail); err != nil {
			return err
		}
	}
	readDocuments(f.mesh.context, cmd.InOrStdin(), linter.AddContext, fail)
	readDocuments(paths, cmd.InOrStdin(), linter.Add, fail)
	report := linter.Report()
	for _, o := range outputs {
		if err := o.write(cmd.OutOrStdout(), report, f.failAction()); err != nil {
			return usageError(fmt.Errorf("write %s: %w", o.format, err))
		}
	}
	return verdict(f, report, unreadable)
}

// clusterLinter returns a linter that knows what is in the cluster. own says that
// this is what it shall check.
func clusterLinter(cmd *cobra.Command, f *checkFlags, opts *lint.Options, own bool, fail func(error)) (*lint.Linter, error) {
	c, err := f.access.client()
	if err != nil {
		return nil, err
	}
	if len(f.common.policies) == 0 {
		documents, err := clusterPolicies(cmd.Context(), c, "")
		if err != nil {
			return nil, &exitError{code: exitCluster, err: err}
		}
		if opts.PolicyFor, err = documents.Compile(); err != nil {
			return nil, &exitError{code: exitCluster, err: err}
		}
	}
	linter := lint.New(*opts)
	one := cmd.Flags().Changed("namespace")
	err = readCluster(cmd.Context(), c, func(doc *manifest.Document) {
		if own && (!one || doc.Object.GetNamespace() == f.common.namespace) {
			linter.Add(doc)
		} else {
			linter.AddContext(doc)
		}
	}, fail)
	if err != nil {
		return nil, &exitError{code: exitCluster, err: err}
	}
	return linter, nil
}

// failAction is the mildest action that exit code 1 is for.
func (f *checkFlags) failAction() policy.Action {
	if f.failOn == "warn" {
		return policy.Warn
	}
	return policy.Deny
}

// verdict turns a report into the exit code.
func verdict(f *checkFlags, report *lint.Report, unreadable int) error {
	switch {
	case len(report.Panics) > 0:
		p := report.Panics[0]
		return &exitError{code: exitInternal, err: fmt.Errorf("%w\n%s", p, p.Stack)}
	case unreadable > 0:
		return &exitError{code: exitUnreadable, err: errors.New("some input could not be read, see above; the rest was checked")}
	case report.Count(policy.Deny) > 0, f.failOn == "warn" && report.Count(policy.Warn) > 0:
		return &exitError{code: exitFindings}
	default:
		return nil
	}
}

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
func isColourful(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("NO_COLOR") == ""
}

// commonFlags are those of all commands that judge or show policies.
type commonFlags struct {
	config    string
	policies  []string
	namespace string
	at        string
}

func (f *commonFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "Configuration `file`: facts about the mesh")
	flags.StringArrayVar(&f.policies, "policy", nil, "file or folder of EgressPolicies, EgressExemptions and Namespaces (repeatable)")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "`namespace` of documents that name none")
	flags.StringVar(&f.at, "at", "", "judge as at this `time`, such as 2027-01-01T00:00:00Z; now without it")
}

// meshFlags are those of the commands that look into the mesh around files.
type meshFlags struct {
	context  []string
	complete bool
}

func (f *meshFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.context, "context", nil, "file or folder of objects that are only part of the mesh (repeatable)")
	flags.BoolVar(&f.complete, "complete", false, "the files are the whole mesh: what is not in them does not exist")
}

func (f *commonFlags) lintOptions(stdin io.Reader) (*lint.Options, error) {
	conf, err := readConfig(f.config)
	if err != nil {
		return nil, usageError(err)
	}
	policyFor, err := readPolicies(f.policies, stdin)
	if err != nil {
		return nil, usageError(err)
	}
	now, err := f.now()
	if err != nil {
		return nil, usageError(err)
	}
	suite, err := analysis.NewSuite(rules.All...)
	if err != nil {
		return nil, &exitError{code: exitInternal, err: err}
	}
	return &lint.Options{Suite: suite, Config: conf, PolicyFor: policyFor, Namespace: f.namespace, Now: now}, nil
}

func (f *commonFlags) now() (time.Time, error) {
	if f.at == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return t, fmt.Errorf("--at %q: want a time such as 2027-01-01T00:00:00Z", f.at)
	}
	return t, nil
}

// complete registers the values of a flag for shell completion.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag does not exist
	}
}
