// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": main, "kubectl-sallyport": main})
}

// TestScripts runs one behaviour of the command line a script.
func TestScripts(t *testing.T) {
	samples, err := filepath.Abs("../../deploy/samples")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Setup: func(env *testscript.Env) error {
			env.Setenv("SAMPLES", samples)
			return nil
		},
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs sallyport and checks its exit code: "exits CODE ARGS...".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("sallyport", args[1:]...)
	if got := exitCode(err); got != args[0] {
		ts.Fatalf("sallyport exited with %s, want %s", got, args[0])
	}
}

func exitCode(err error) string {
	if err == nil {
		return "0"
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
