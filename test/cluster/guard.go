// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A guard is a process that outlives its parent for a moment, to end what the
// parent has started: it waits for the end of its standard input, which comes
// when the parent closes it or dies, however it dies.
type guard struct {
	cmd   *exec.Cmd
	stdin io.Closer
	dir   string
}

// guardScript kills the processes whose ids are in the file pids, each the
// leader of its own group, and removes the folder once they have let go of it.
const guardScript = `
cat >/dev/null
for pid in $(cat "$1/pids"); do kill -9 "$pid" 2>/dev/null; done
for try in 1 2 3 4 5; do rm -rf "$1" 2>/dev/null && exit; sleep 1; done
`

func startGuard(ctx context.Context, dir string) (*guard, error) {
	g := &guard{dir: dir, cmd: exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", guardScript, "guard", dir)}
	if err := os.WriteFile(g.pids(), nil, 0o600); err != nil {
		return nil, err
	}
	// A group of its own: Ctrl-C in the terminal is not for the guard.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := g.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	g.stdin = stdin
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return g, nil
}

func (g *guard) pids() string { return filepath.Join(g.dir, "pids") }

// wrap returns a program that tells the guard its process id and becomes the
// binary.
func (g *guard) wrap(binary string) (string, error) {
	path := filepath.Join(g.dir, filepath.Base(binary))
	// envtest also asks the binaries for --help, which ends by itself.
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = --help ] || echo $$ | tee -a %s >%s\nexec %s \"$@\"\n",
		quote(g.pids()), quote(path+".pid"), quote(binary))
	return path, os.WriteFile(path, []byte(script), 0o700)
}

// pid returns the id of the process that runs the wrapped binary.
func (g *guard) pid(name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(g.dir, name+".pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (g *guard) add(pid int) error {
	f, err := os.OpenFile(g.pids(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, pid)
	return err
}

// stop ends the guard after everything else has ended, and with it the folder.
func (g *guard) stop() error {
	// The ids may belong to others by now.
	if err := os.Truncate(g.pids(), 0); err != nil {
		return err
	}
	if err := g.stdin.Close(); err != nil {
		return err
	}
	return g.cmd.Wait()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
