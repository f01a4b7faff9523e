// SPDX-License-Identifier: Apache-2.0

// Package sallyport runs the real binary against a test control plane, with the
// webhook configurations of deploy/ pointed at it.
package sallyport

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

// Options say how to run the server.
type Options struct {
	// Args are added to the command line of "sallyport serve".
	Args []string
	// Kubeconfig is another way to the control plane; empty is its own. // optional
	Kubeconfig string
	// Env is added to the environment.
	Env []string
	// Configurations says how to register the webhooks.
	Configurations Configurations
}

// A Server is a running "sallyport serve".
type Server struct {
	// URL is where reviews are served, without a path.
	URL string
	// Probes is the URL of /readyz, without a path.
	Probes string
	// Metrics is the URL of /metrics, without a path: see Scrape.
	Metrics string
	// LogFile holds what the server writes.
	LogFile string

	cmd  *exec.Cmd
	done chan error
}

// readyTimeout is how long the server and the API server may take to know each
// other.
const readyTimeout = 3 * time.Minute

// Start builds the binary, runs it, registers its webhooks and waits until the
// API server really asks it. The caller must call Stop. The control plane's
// watchdog ends the server should the caller die without.
func Start(ctx context.Context, c *cluster.Cluster, opts Options) (*Server, error) {
	binary := filepath.Join(c.Dir, "sallyport")
	if err := Build(ctx, binary); err != nil {
		return nil, err
	}
	if err := CreateNamespace(ctx, c.Config); err != nil {
		return nil, err
	}
	s, err := Run(ctx, c, "sallyport", opts)
	if err != nil {
		return nil, err
	}
	if err := s.register(ctx, c, opts.Configurations); err != nil {
		return nil, errors.Join(err, s.logged(), s.Stop())
	}
	return s, nil
}

// Run runs the binary, which [Build] must have built into the cluster's folder, as one
// of several servers, and waits until it listens. The name is that of its log.
func Run(ctx context.Context, c *cluster.Cluster, name string, opts Options) (*Server, error) {
	s := &Server{LogFile: filepath.Join(c.Dir, name+".log"), done: make(chan error, 1)}
	log, err := os.Create(s.LogFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// Ctrl-C is for Stop, which lets the server drain.
	s.cmd = exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(c.Dir, "sallyport"), append([]string{
		"serve", "--kubeconfig", cmp.Or(opts.Kubeconfig, c.Kubeconfig),
		"--listen", "127.0.0.1:0", "--listen-probes", "127.0.0.1:0", "--listen-metrics", "127.0.0.1:0",
		"--dns-name", "localhost", "--drain-delay", "0s",
	}, opts.Args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), opts.Env...)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start sallyport: %w", err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	if err := c.Guard(s.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.waitForAddresses(ctx); err != nil {
		return nil, errors.Join(err, s.logged(), s.Stop())
	}
	return s, nil
}

// Build builds the binary that is tested.
func Build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/sallyport")
	cmd.Dir = cluster.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sallyport: %w: %s", err, out)
	}
	return nil
}

// Stop ends the server as Kubernetes does, by SIGTERM, and waits for it.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	select {
	case err := <-s.done:
		if err != nil {
			return fmt.Errorf("sallyport ended: %w", err)
		}
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("sallyport does not end"), s.cmd.Process.Kill())
	}
}

// PID is the id of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends the process a signal.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

func (s *Server) register(ctx context.Context, c *cluster.Cluster, conf Configurations) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := conf.apply(ctx, c.Config, s.URL); err != nil {
		return err
	}
	if err := s.waitUntilReady(ctx); err != nil {
		return err
	}
	return conf.waitUntilAsked(ctx, c.Config)
}

// waitForAddresses reads from the log where the server listens.
func (s *Server) waitForAddresses(ctx context.Context) error {
	return s.poll(ctx, "sallyport does not start", func() bool {
		log, err := os.ReadFile(s.LogFile)
		if err != nil {
			return false
		}
		for line := range bytes.Lines(log) {
			var entry struct{ Msg, Listen, Probes, Metrics string }
			if json.Unmarshal(line, &entry) == nil && entry.Msg == "Started" {
				_, port, _ := strings.Cut(entry.Listen, ":")
				s.URL = "https://localhost:" + port
				s.Probes = "http://" + entry.Probes
				s.Metrics = "https://" + entry.Metrics
				return true
			}
		}
		return false
	})
}

func (s *Server) waitUntilReady(ctx context.Context) error {
	return s.poll(ctx, "sallyport does not get ready", func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Probes+"/readyz", nil)
		if err != nil {
			return false
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
}

// poll waits for a condition, but not longer than the server lives.
func (s *Server) poll(ctx context.Context, problem string, condition func() bool) error {
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		select {
		case err := <-s.done:
			s.done <- err
			return false, fmt.Errorf("it ended: %w", err)
		default:
			return condition(), nil
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", problem, err)
	}
	return nil
}

func (s *Server) logged() error {
	log, err := os.ReadFile(s.LogFile)
	if err != nil {
		return err
	}
	return fmt.Errorf("its log:\n%s", log)
}
