// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const wildcard = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all, namespace: shop}
spec: {hosts: ["*.example.com"], resolution: NONE, exportTo: ["."], ports: [{number: 443, name: tls, protocol: TLS}]}
`

// onTerminal runs a command on a pseudo-terminal and returns what a person sees,
// who also sees it as it comes.
func onTerminal(t *testing.T, cmd *exec.Cmd, watch io.Writer) string {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there are no pseudo-terminals here: ", err)
	}
	require.NoError(t, err)
	number, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0))
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = side, side
	require.NoError(t, cmd.Start())
	require.NoError(t, side.Close())
	seen, _ := io.ReadAll(io.TeeReader(terminal, watch)) // ends with EIO when the command does
	_ = cmd.Wait()                                       // there are findings
	return string(seen)
}

func TestColoursAreForTerminals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	require.NoError(t, os.WriteFile(file, []byte(wildcard), 0o600))
	check := func(env ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sallyport", "check", "--complete", file)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}
	require.Contains(t, onTerminal(t, check("NO_COLOR=", "TERM=xterm"), io.Discard), "\x1b[31mdenied\x1b[0m")
	require.NotContains(t, onTerminal(t, check("NO_COLOR=1", "TERM=xterm"), io.Discard), "\x1b[")
	require.NotContains(t, onTerminal(t, check("NO_COLOR=", "TERM=dumb"), io.Discard), "\x1b[")
	piped, _ := check("NO_COLOR=").Output() // there are findings
	require.Contains(t, string(piped), "denied")
	require.NotContains(t, string(piped), "\x1b[")
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestBarIsForTerminals: what takes longer than a second shows a bar, which is gone
// when the findings come.
func TestBarIsForTerminals(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sallyport", "check", "--complete", "-")
	cmd.Env = append(os.Environ(), "TERM=xterm")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	seen := onTerminal(t, cmd, writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("reading")) {
			_, _ = io.WriteString(stdin, wildcard) // fails when it has been written
			_ = stdin.Close()
		}
		return len(p), nil
	}))
	bar := strings.Index(seen, "\rreading\x1b[K")
	cleared := strings.LastIndex(seen, "\r\x1b[K")
	require.Positive(t, bar+1, seen)
	require.Greater(t, cleared, bar, seen)
	require.Contains(t, seen[cleared:], "denied")
	require.NotContains(t, seen[:cleared], "denied")
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{stop: make(chan struct{}), out: &out}
		p.begin("reading", 200)
		p.group.Go(p.loop)
		time.Sleep(progressAfter - time.Millisecond)
		require.Empty(t, out.String())
		text, err := io.ReadAll(p.reader(strings.NewReader(strings.Repeat("x", 50))))
		require.NoError(t, err)
		require.Len(t, text, 50)
		time.Sleep(progressEvery)
		synctest.Wait()
		require.Equal(t, "\rreading  [=======                       ]  25 %\x1b[K", out.String())
		p.begin("checking", 0)
		time.Sleep(progressEvery)
		synctest.Wait()
		require.True(t, strings.HasSuffix(out.String(), "\rchecking\x1b[K"))
		p.end()
		require.True(t, strings.HasSuffix(out.String(), "\r\x1b[K"))
	})
}

func TestShortWorkShowsNoBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{stop: make(chan struct{}), out: &out}
		p.begin("reading", 200)
		p.group.Go(p.loop)
		time.Sleep(progressAfter / 2)
		p.end()
		require.Empty(t, out.String())
	})
}
