// SPDX-License-Identifier: Apache-2.0

// Command files measures "sallyport check" over many documents: how many it checks in
// a second, the memory that it takes, and how long it takes to start. Peers do the
// same work in turn with it, where their binaries are named by ISTIOCTL, KYVERNO
// (with a policy file in KYVERNO_POLICY) or GATOR (with a folder of constraints in
// GATOR_POLICY). All run with the files' text as their only input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/test/sallyport"
)

func main() {
	documents := flag.Int("documents", 10_000, "how many documents there are")
	runs := flag.Int("runs", 5, "how often each tool runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *documents, *runs)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// A tool is a command that checks a folder of files.
type tool struct {
	name string
	args []string
	// times and memory are what its runs took.
	times  []time.Duration
	memory []int64 // KiB
}

func run(ctx context.Context, out io.Writer, documents, runs int) error {
	dir, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "sallyport")
	if err := sallyport.Build(ctx, binary); err != nil {
		return err
	}
	files := filepath.Join(dir, "files")
	if err := writeDocuments(files, documents); err != nil {
		return err
	}
	tools := []*tool{
		{name: "start", args: []string{binary, "version"}},
		{name: "sallyport check", args: []string{binary, "check", files}},
	}
	tools = append(tools, peers(files)...)
	for range runs {
		for _, t := range tools {
			if err := t.measure(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(out, "%d documents, %d runs each in turn, medians:\n", documents, runs)
	for _, t := range tools {
		took := t.time()
		fmt.Fprintf(out, "%-16s %8s %10.0f documents/s %6d MiB\n", t.name, took.Round(time.Millisecond), float64(documents)/took.Seconds(), slices.Max(t.memory)>>10)
	}
	return nil
}

// peers returns the other tools whose binaries the environment names.
func peers(files string) []*tool {
	var tools []*tool
	if binary := os.Getenv("ISTIOCTL"); binary != "" {
		tools = append(tools, &tool{name: "istioctl analyze", args: []string{binary, "analyze", "--use-kube=false", "--recursive", files}})
	}
	if binary := os.Getenv("KYVERNO"); binary != "" {
		tools = append(tools, &tool{name: "kyverno apply", args: []string{binary, "apply", os.Getenv("KYVERNO_POLICY"), "--resource", files}})
	}
	if binary := os.Getenv("GATOR"); binary != "" {
		tools = append(tools, &tool{name: "gator test", args: []string{binary, "test", "-f", files, "-f", os.Getenv("GATOR_POLICY")}})
	}
	return tools
}

// measure runs the tool once. Exit codes that say that there are findings are fine.
func (t *tool) measure(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, t.args[0], t.args[1:]...)
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok || ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", t.name, err)
	}
	t.times = append(t.times, took)
	t.memory = append(t.memory, usage.Maxrss)
	return nil
}

func (t *tool) time() time.Duration {
	times := slices.Sorted(slices.Values(t.times))
	return times[len(times)/2]
}
