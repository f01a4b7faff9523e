// SPDX-License-Identifier: Apache-2.0

// Sallyport guards the egress of an Istio mesh: it refuses unsafe objects and
// completes those that forget something, at admission, in files and in what is
// already in the cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit codes, the same for every command and output format.
const (
	exitFindings   = 1 // findings at or above --fail-on, or something to fix or to mend
	exitUsage      = 2 // wrong flags, arguments or configuration
	exitUnreadable = 3 // input that could not be read, or not be fixed
	exitCluster    = 4 // the cluster did not answer or refused
	exitInternal   = 5 // a fault of Sallyport

	exitInterrupted = 128 + int(syscall.SIGINT)
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		// What cobra itself reports is wrong usage.
		exit = &exitError{code: exitUsage, err: fmt.Errorf("%w\nRun '%s --help' for usage", err, cmd.CommandPath())}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "Error:", exit.err)
	}
	return exit.code
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "Guard the egress of an Istio mesh",
		Long: `Sallyport guards the egress of an Istio mesh. It refuses ServiceEntries,
VirtualServices and AuthorizationPolicies that open an unsafe exit, and fills in
what people forget. The same rules run at admission and over files.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl-") {
		// kubectl runs kubectl-NAME as "kubectl NAME".
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sallyport"}
	}
	root.AddCommand(newServe(), newCheck(), newFix(), newTest(), newExplain(), newRules(), newPolicy(), newDoctor(), newVersion())
	return root
}

// An exitError ends the program with a code of its own. Without err nothing is
// printed: the output has said it all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{code: exitUsage, err: err} }
