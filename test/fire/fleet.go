// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// How Kubernetes finds out about a server: by a probe every now and then, and callers
// know of it a while later. Both are shorter than by default, for the tests' sake.
const (
	probeEvery   = 200 * time.Millisecond
	probeTimeout = time.Second
	propagation  = 500 * time.Millisecond
	drainDelay   = 2 * time.Second
)

// A fleet is several servers behind a balancer, with what the kubelet and kube-proxy do.
type fleet struct {
	cluster    *cluster.Cluster
	balancer   *balancer
	uplink     *balancer // between the servers and the API server
	kubeconfig string    // by the uplink
	args       []string

	mu      sync.Mutex
	pods    []*pod
	started int
	ready   []string
}

// A pod is a server and what Kubernetes knows of it.
type pod struct {
	*sallyport.Server
	name        string
	ready       bool
	terminating bool
}

func (p *pod) address() string { return strings.Replace(p.URL, "https://localhost", "127.0.0.1", 1) }

func newFleet(ctx context.Context, c *cluster.Cluster, args ...string) (*fleet, error) {
	b, err := newBalancer(ctx)
	if err != nil {
		return nil, err
	}
	f := &fleet{cluster: c, balancer: b, args: append([]string{"--drain-delay", drainDelay.String()}, args...)}
	if f.uplink, err = newBalancer(ctx); err != nil {
		return nil, err
	}
	f.connect()
	f.kubeconfig = filepath.Join(c.Dir, "kubeconfig-uplink")
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = f.uplink.url()
	}
	return f, clientcmd.WriteToFile(*config, f.kubeconfig)
}

// disconnect keeps the servers from the API server until connect is called.
func (f *fleet) disconnect() {
	f.uplink.set(nil)
	f.uplink.cut()
}

func (f *fleet) connect() {
	host := strings.TrimPrefix(f.cluster.Config.Host, "https://")
	f.uplink.set([]string{strings.TrimSuffix(host, "/")})
}

// start adds a server, which gets calls when it is ready.
func (f *fleet) start(ctx context.Context) error {
	f.mu.Lock()
	f.started++
	name := fmt.Sprintf("replica-%d", f.started)
	f.mu.Unlock()
	server, err := sallyport.Run(ctx, f.cluster, name, sallyport.Options{Args: f.args, Kubeconfig: f.kubeconfig})
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.pods = append(f.pods, &pod{Server: server, name: name})
	f.mu.Unlock()
	return nil
}

// stop ends a server as Kubernetes does: endpoints forget it while it drains.
func (f *fleet) stop(p *pod) error {
	f.mu.Lock()
	p.terminating = true
	f.mu.Unlock()
	err := p.Stop()
	f.forget(p)
	return err
}

func (f *fleet) forget(p *pod) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods = slices.DeleteFunc(f.pods, func(q *pod) bool { return q == p })
}

func (f *fleet) stopAll() error {
	f.mu.Lock()
	pods := slices.Clone(f.pods)
	f.mu.Unlock()
	var group sync.WaitGroup
	errs := make([]error, len(pods))
	for i, p := range pods {
		group.Go(func() { errs[i] = f.stop(p) })
	}
	group.Wait()
	f.balancer.close()
	f.uplink.close()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// watch probes the servers and tells the balancer, until the context ends.
func (f *fleet) watch(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		f.mu.Lock()
		pods := slices.Clone(f.pods)
		f.mu.Unlock()
		var group sync.WaitGroup
		for _, p := range pods {
			group.Go(func() {
				ready := isReady(ctx, p)
				f.mu.Lock()
				p.ready = ready
				f.mu.Unlock()
			})
		}
		group.Wait()
		f.publish()
	}
}

// publish has the balancer know what is ready now, after a while.
func (f *fleet) publish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ready []string
	for _, p := range f.pods {
		if p.ready && !p.terminating {
			ready = append(ready, p.address())
		}
	}
	if slices.Equal(ready, f.ready) {
		return
	}
	f.ready = ready
	time.AfterFunc(propagation, func() { f.balancer.set(ready) })
}

func isReady(ctx context.Context, p *pod) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Probes+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// waitForReady waits until a number of servers get calls.
func (f *fleet) waitForReady(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		ready := len(f.ready)
		f.mu.Unlock()
		if ready == n {
			return sleep(ctx, propagation)
		}
		if err := sleep(ctx, probeEvery); err != nil {
			return fmt.Errorf("%d of %d servers are ready: %w", ready, n, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
