// SPDX-License-Identifier: Apache-2.0

// Command scale fills a real API server with a large mesh, and measures how long the
// server takes to get ready with it, and how much memory it has then.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

func main() {
	entries := flag.Int("service-entries", 50_000, "how many ServiceEntries there are")
	routes := flag.Int("virtual-services", 10_000, "how many VirtualServices there are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, os.Stdout, *entries, *routes); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func measure(ctx context.Context, w io.Writer, entries, routes int) error {
	plane, err := cluster.Start(ctx, cluster.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = plane.Stop() }()
	if err := sallyport.Build(ctx, filepath.Join(plane.Dir, "sallyport")); err != nil {
		return err
	}
	if err := sallyport.CreateNamespace(ctx, plane.Config); err != nil {
		return err
	}
	begun := time.Now()
	if err := fill(ctx, plane.Config, entries, routes); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d ServiceEntries and %d VirtualServices, created in %v\n", entries, routes, time.Since(begun).Round(time.Second))
	begun = time.Now()
	server, err := sallyport.Run(ctx, plane, "sallyport", sallyport.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = server.Stop() }()
	for !isReady(ctx, server) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Fprintf(w, "ready after %v, %s\n", time.Since(begun).Round(10*time.Millisecond), memory(server.PID()))
	time.Sleep(time.Minute)
	fmt.Fprintf(w, "a minute later, %s\n", memory(server.PID()))
	return nil
}

// fill creates the objects, of a hundred namespaces.
func fill(ctx context.Context, config *rest.Config, entries, routes int) error {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	const namespaces = 100
	for i := range namespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace(i)}}
		if _, err := core.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	create := func(resource string, object *unstructured.Unstructured) {
		group.Go(func() error {
			gvr := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: resource}
			_, err := client.Resource(gvr).Namespace(object.GetNamespace()).Create(ctx, object, metav1.CreateOptions{})
			return err
		})
	}
	for i := range entries {
		create("serviceentries", object("ServiceEntry", namespace(i%namespaces), i, map[string]any{
			"hosts": []any{host(i)}, "exportTo": []any{"."}, "resolution": "DNS",
			"ports": []any{map[string]any{"number": int64(443), "name": "tls", "protocol": "TLS"}},
		}))
	}
	for i := range routes {
		create("virtualservices", object("VirtualService", namespace(i%namespaces), i, map[string]any{
			"hosts": []any{host(i)}, "exportTo": []any{"."},
			"http": []any{map[string]any{"timeout": "5s", "route": []any{map[string]any{"destination": map[string]any{"host": host(i)}}}}},
		}))
	}
	return group.Wait()
}

func namespace(i int) string { return fmt.Sprintf("team-%d", i) }

func host(i int) string { return fmt.Sprintf("api-%d.supplier-%d.example.com", i, i%1000) }

func object(kind, namespace string, i int, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": kind,
		"metadata": map[string]any{"name": fmt.Sprintf("api-%d", i), "namespace": namespace, "labels": map[string]any{"team": namespace}},
		"spec":     spec,
	}}
}

func isReady(ctx context.Context, server *sallyport.Server) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.Probes+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// memory says how much the process has and has had.
func memory(pid int) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return err.Error()
	}
	now := regexp.MustCompile(`VmRSS:\s+(\d+ kB)`).FindSubmatch(status)
	peak := regexp.MustCompile(`VmHWM:\s+(\d+ kB)`).FindSubmatch(status)
	if now == nil || peak == nil {
		return "its memory is not told by this system"
	}
	return fmt.Sprintf("with %s in memory, %s at most", now[1], peak[1])
}
