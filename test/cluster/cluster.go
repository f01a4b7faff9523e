// SPDX-License-Identifier: Apache-2.0

// Package cluster starts a real control plane: etcd and kube-apiserver, with
// Istio's CRDs and Sallyport's own, for tests and for the demo. Each cluster has
// its own processes, ports and folder, so that test packages can run side by
// side, and none of them outlives the process that started it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Options change how a cluster starts. The zero value is a good one.
type Options struct {
	// APIServerFlags are added to kube-apiserver's, by name without dashes. // optional
	APIServerFlags map[string]string
	// CRDPaths are files and folders of further CRDs. // optional
	CRDPaths []string
	// WithoutCRDs leaves Sallyport's own CRDs to the caller.
	WithoutCRDs bool
}

// A Cluster is a running control plane.
type Cluster struct {
	// Config is that of an administrator.
	Config *rest.Config
	// Kubeconfig is a file with the same.
	Kubeconfig string
	// Kubectl is the path of a kubectl of the API server's version.
	Kubectl string
	// Dir is a folder that vanishes with the cluster: for logs and the like.
	Dir string

	env   *envtest.Environment
	guard *guard
}

// startTimeout is how long etcd and kube-apiserver may each take to answer.
const startTimeout = 3 * time.Minute

// New starts a cluster that ends with the test.
func New(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	c, err := Start(tb.Context(), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// Start starts a cluster. The caller must call Stop; if it dies before, the
// cluster dies with it. Where the binaries are not there yet, they are got
// first, which can take minutes: see [Binaries].
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	binaries, err := Binaries(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	crds, err := crdPaths(ctx, opts)
	if err != nil {
		return nil, err
	}
	// A port that was free when it was chosen can be taken when it is used.
	const tries = 3
	var errs []error
	for range tries {
		c, err := start(ctx, binaries, crds, opts)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("start the control plane: %w", errors.Join(errs...))
}

func start(ctx context.Context, binaries string, crds []string, opts Options) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "sallyport-cluster-")
	if err != nil {
		return nil, err
	}
	g, err := startGuard(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := &Cluster{Dir: dir, Kubectl: filepath.Join(binaries, "kubectl"), guard: g, env: newEnvironment(crds)}
	if err := c.run(binaries, opts); err != nil {
		return nil, errors.Join(err, lastLines(dir), c.Stop())
	}
	return c, nil
}

func newEnvironment(crds []string) *envtest.Environment {
	return &envtest.Environment{
		CRDInstallOptions:        envtest.CRDInstallOptions{Paths: crds, ErrorIfPathMissing: true},
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
}

func (c *Cluster) run(binaries string, opts Options) error {
	plane := &c.env.ControlPlane
	apiServer := plane.GetAPIServer()
	plane.Etcd = new(envtest.Etcd)
	plane.KubectlPath = c.Kubectl
	var err error
	if plane.Etcd.Path, err = c.guard.wrap(filepath.Join(binaries, "etcd")); err != nil {
		return err
	}
	if apiServer.Path, err = c.guard.wrap(filepath.Join(binaries, "kube-apiserver")); err != nil {
		return err
	}
	// All that stays is below one folder, which the guard removes.
	plane.Etcd.DataDir = filepath.Join(c.Dir, "data")
	apiServer.CertDir = filepath.Join(c.Dir, "certs")
	for _, dir := range []string{plane.Etcd.DataDir, apiServer.CertDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	etcdLog, err := os.Create(filepath.Join(c.Dir, "etcd.log"))
	if err != nil {
		return err
	}
	defer etcdLog.Close()
	apiServerLog, err := os.Create(filepath.Join(c.Dir, "kube-apiserver.log"))
	if err != nil {
		return err
	}
	defer apiServerLog.Close()
	plane.Etcd.Out, plane.Etcd.Err = etcdLog, etcdLog
	apiServer.Out, apiServer.Err = apiServerLog, apiServerLog
	for name, value := range opts.APIServerFlags {
		apiServer.Configure().Set(name, value)
	}
	if c.Config, err = c.env.Start(); err != nil {
		return err
	}
	// envtest makes certificates for webhooks, which nobody here uses, in a
	// folder of its own choice.
	if err := os.RemoveAll(c.env.WebhookInstallOptions.LocalServingCertDir); err != nil {
		return err
	}
	c.Kubeconfig = filepath.Join(c.Dir, "kubeconfig")
	return os.WriteFile(c.Kubeconfig, c.env.KubeConfig, 0o600)
}

// Stop ends the control plane and removes its folder.
func (c *Cluster) Stop() error {
	return errors.Join(c.env.Stop(), c.guard.stop())
}

// RestartAPIServer kills kube-apiserver, as when its node fails, and starts it anew at
// the same address. Its users stay.
func (c *Cluster) RestartAPIServer() error {
	if err := c.signal("kube-apiserver", syscall.SIGKILL); err != nil {
		return err
	}
	apiServer := c.env.ControlPlane.GetAPIServer()
	if err := apiServer.Stop(); err != nil { // waits for its end
		return fmt.Errorf("stop kube-apiserver: %w", err)
	}
	if err := apiServer.Start(); err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	return nil
}

// SignalEtcd sends etcd a signal, such as SIGSTOP, with which it answers nobody until
// it gets SIGCONT.
func (c *Cluster) SignalEtcd(sig syscall.Signal) error {
	return c.signal("etcd", sig)
}

func (c *Cluster) signal(name string, sig syscall.Signal) error {
	pid, err := c.guard.pid(name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("send %s a signal: %w", name, err)
	}
	return nil
}

// Guard makes a further process end with the cluster, should the process that
// started both die without stopping them.
func (c *Cluster) Guard(pid int) error { return c.guard.add(pid) }

// User returns the configuration of another user, and a kubeconfig file with
// the same. What the user may do is up to RBAC objects.
func (c *Cluster) User(name string, groups ...string) (*rest.Config, string, error) {
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: 1000, Burst: 2000})
	if err != nil {
		return nil, "", fmt.Errorf("add user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, "", fmt.Errorf("add user %s: %w", name, err)
	}
	file := filepath.Join(c.Dir, "kubeconfig-"+strings.NewReplacer("/", "-", ":", "-").Replace(name))
	return user.Config(), file, os.WriteFile(file, kubeconfig, 0o600)
}

// crdPaths returns where the CRDs are that every cluster has: Istio's in its
// module, ours in deploy/crds.
func crdPaths(ctx context.Context, opts Options) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api")
	cmd.Dir = Root()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("find the module istio.io/api: %w", err)
	}
	istio := filepath.Join(strings.TrimSpace(string(out)), "kubernetes", "customresourcedefinitions.gen.yaml")
	paths := []string{istio}
	if !opts.WithoutCRDs {
		paths = append(paths, filepath.Join(Root(), "deploy", "crds"))
	}
	return append(paths, opts.CRDPaths...), nil
}

// Root returns the folder of the repository.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("cluster: the binary was built without source positions")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// lastLines returns, as an error, the ends of the logs in the folder.
func lastLines(dir string) error {
	const enough = 2000
	var errs []error
	for _, name := range []string{"etcd.log", "kube-apiserver.log"} {
		log, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(log) == 0 {
			continue
		}
		errs = append(errs, fmt.Errorf("%s ends with:\n%s", name, log[max(0, len(log)-enough):]))
	}
	return errors.Join(errs...)
}
