// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// programs are what a control plane is made of.
var programs = []string{"etcd", "kube-apiserver", "kubectl"}

// Binaries returns the folder that holds etcd, kube-apiserver and kubectl. It is
// the one that KUBEBUILDER_ASSETS names, else a folder in the user's cache. If
// that is not there it is filled once: by setup-envtest's download, or where that
// cannot be reached by a build from Go modules, which takes about ten minutes on
// two cores. What goes on is written to progress. Processes that need the
// binaries at the same time wait for the one that gets them.
func Binaries(ctx context.Context, progress io.Writer) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		if missing := missingPrograms(dir); len(missing) > 0 {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS: %s is missing in %s", strings.Join(missing, ", "), dir)
		}
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	s := &store{cache: filepath.Join(cache, "sallyport"), tools: filepath.Join(Root(), "test", "tools")}
	return s.binaries(ctx, progress, download, build)
}

// A source puts the binaries of a Kubernetes version into a folder.
type source func(ctx context.Context, s *store, version, dir string, progress io.Writer) error

// A store keeps binaries in a folder for each set of their sources.
type store struct {
	cache string // the folder of folders
	tools string // where the tool modules are
}

func (s *store) binaries(ctx context.Context, progress io.Writer, sources ...source) (string, error) {
	version, key, err := s.wanted()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.cache, fmt.Sprintf("controlplane-%s-%s", version, key))
	if len(missingPrograms(dir)) == 0 {
		return dir, nil
	}
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(s.cache, "lock")).Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if len(missingPrograms(dir)) == 0 {
		return dir, nil // another process was quicker
	}
	return dir, s.fill(ctx, dir, version, progress, sources)
}

// fill makes dir of the first source that can. The folder appears only when it
// is complete.
func (s *store) fill(ctx context.Context, dir, version string, progress io.Writer, sources []source) error {
	var errs []error
	for _, get := range sources {
		if err := ctx.Err(); err != nil {
			return err
		}
		unfinished, err := os.MkdirTemp(s.cache, "unfinished-")
		if err != nil {
			return err
		}
		err = get(ctx, s, version, unfinished, progress)
		if missing := missingPrograms(unfinished); err == nil && len(missing) > 0 {
			err = fmt.Errorf("%s is missing", strings.Join(missing, ", "))
		}
		if err == nil {
			err = errors.Join(os.RemoveAll(dir), os.Rename(unfinished, dir))
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err, os.RemoveAll(unfinished))
	}
	return fmt.Errorf("get the control plane's binaries: %w", errors.Join(errs...))
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes v(\d+\.\d+\.\d+)\b`)

// wanted returns the version that the tool module pins, and a key that changes
// with anything the module pins.
func (s *store) wanted() (version, key string, err error) {
	mod, err := os.ReadFile(filepath.Join(s.tools, "cluster", "go.mod"))
	if err != nil {
		return "", "", err
	}
	sum, err := os.ReadFile(filepath.Join(s.tools, "cluster", "go.sum"))
	if err != nil {
		return "", "", err
	}
	match := kubernetesVersion.FindSubmatch(mod)
	if match == nil {
		return "", "", errors.New("test/tools/cluster/go.mod does not require k8s.io/kubernetes")
	}
	return string(match[1]), fmt.Sprintf("%x", sha256.Sum256(append(mod, sum...)))[:12], nil
}

func missingPrograms(dir string) []string {
	var missing []string
	for _, p := range programs {
		if info, err := os.Stat(filepath.Join(dir, p)); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, p)
		}
	}
	return missing
}

// download lets setup-envtest download a release of the same minor version.
func download(ctx context.Context, s *store, version, dir string, progress io.Writer) error {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", "github.com:443")
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	defer conn.Close()
	fmt.Fprintf(progress, "Downloading etcd, kube-apiserver and kubectl %s (once)\n", version)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	minor := version[:strings.LastIndex(version, ".")]
	path, err := output(exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join(s.tools, "envtest", "go.mod"),
		"setup-envtest", "use", minor+".x", "--bin-dir", filepath.Join(dir, "download"), "-p", "path"))
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	for _, p := range programs {
		if err := os.Rename(filepath.Join(path, p), filepath.Join(dir, p)); err != nil {
			return fmt.Errorf("download: %w", err)
		}
	}
	return nil
}

// build builds the binaries from the tool module.
func build(ctx context.Context, s *store, version, dir string, progress io.Writer) error {
	stop := report(progress, "Building etcd, kube-apiserver and kubectl "+version+" from source: once, about 10 minutes on two cores")
	defer stop()
	major, minor, _ := strings.Cut(version, ".")
	minor, _, _ = strings.Cut(minor, ".")
	const stamp = "k8s.io/component-base/version."
	ldflags := fmt.Sprintf("-s -w -X %[1]sgitVersion=v%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s", stamp, version, major, minor)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", ldflags, "-o", dir+"/",
		"go.etcd.io/etcd/server/v3", "k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl")
	cmd.Dir = filepath.Join(s.tools, "cluster")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return os.Rename(filepath.Join(dir, "server"), filepath.Join(dir, "etcd"))
}

// output returns what a command prints, and as its error what it complains of.
func output(cmd *exec.Cmd) (string, error) {
	if cmd.Dir == "" {
		cmd.Dir = Root()
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// report writes a line, and the time that has passed every half minute until
// stop is called.
func report(w io.Writer, line string) (stop func()) {
	start := time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	fmt.Fprintln(w, line)
	go func() {
		defer close(ended)
		ticker := time.NewTicker(30 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(w, "  still building, %s so far\n", time.Since(start).Round(time.Second))
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		fmt.Fprintf(w, "  took %s\n", time.Since(start).Round(time.Second))
	}
}
