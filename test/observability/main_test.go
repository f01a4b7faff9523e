// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// What was exposed: by a server that is well, and after everything has happened to it
// that can be made to happen.
var well, exposed *exposition

// spans gets those of the server and the API server.
var spans *receiver

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if spans, err = newReceiver(ctx); err != nil {
		return 1, err
	}
	defer spans.close()
	file, err := spans.tracingFile()
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(filepath.Dir(file))
	plane, err := cluster.Start(ctx, cluster.Options{APIServerFlags: map[string]string{"tracing-config-file": file}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	manifests, err := expect(ctx, plane)
	if err != nil {
		return 1, err
	}
	server, err := sallyport.Start(ctx, plane, sallyport.Options{Args: []string{"--otlp-endpoint", spans.http.URL, "--expect", manifests}})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	w := &world{plane: plane, server: server}
	if well, err = w.scrape(ctx); err != nil {
		return 1, err
	}
	if err := w.trouble(ctx); err != nil {
		return 1, err
	}
	if exposed, err = w.scrape(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// A world is a server and the API server that asks it.
type world struct {
	plane  *cluster.Cluster
	server *sallyport.Server
}

const (
	wildcard = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all%s}
spec:
  hosts: ["*.example.com"]
  ports:
  - {number: 443, name: https, protocol: HTTPS}
`
	route = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.example.com]
  exportTo: [.]
  http:
  - route:
    - destination: {host: api.example.com}
`
)

// trouble makes everything happen that metrics tell of: in the namespace broken, nobody
// answers the API server's calls.
func (w *world) trouble(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(w.plane.Config)
	if err != nil {
		return err
	}
	const broken = "broken"
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: broken}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	err = sallyport.Register(ctx, w.plane.Config, "https://localhost:1", sallyport.Configurations{Namespaces: []string{broken}, Name: broken})
	if err != nil {
		return err
	}
	annotated := func(annotation string) string {
		return fmt.Sprintf(wildcard, ", annotations: {"+annotation+": the reason}")
	}
	for _, step := range []struct{ namespace, object, says string }{
		{"default", fmt.Sprintf(wildcard, ""), "serviceentry/wildcard-host"},
		{"default", route, "Warning: mutate/retries"},
		{"default", annotated("sallyport.dev/break-glass"), "let through by break-glass"},
		{"default", strings.Replace(annotated("sallyport.dev/break-glass-outage"), "all", "outage", 1), "not judged by sallyport"},
		{broken, route, "failed calling webhook"},
	} {
		for _, args := range [][]string{{"--dry-run=server"}, nil} {
			if err := w.create(ctx, step.object, step.says, append(args, "-n", step.namespace)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// create has an object created until it gets the answer: the API server learns of new
// configurations after a moment.
func (w *world) create(ctx context.Context, object, says string, args ...string) error {
	var said bytes.Buffer
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		said.Reset()
		cmd := exec.CommandContext(ctx, w.plane.Kubectl, append([]string{"--kubeconfig", w.plane.Kubeconfig, "create", "-f", "-"}, args...)...)
		cmd.Stdin, cmd.Stderr = strings.NewReader(object), &said
		_ = cmd.Run() // what it says tells
		return strings.Contains(said.String(), says), nil
	})
	if err != nil {
		return fmt.Errorf("want %q: %w: %s", says, err, &said)
	}
	return nil
}

// expect creates a webhook configuration and returns a file that says that it is to be
// there. The real one says something else in each run: where the server is.
func expect(ctx context.Context, plane *cluster.Cluster) (file string, err error) {
	client, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		return "", err
	}
	conf := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "expected"}}
	if _, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, conf, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	file = filepath.Join(plane.Dir, "expected.yaml")
	return file, os.WriteFile(file, []byte("kind: ValidatingWebhookConfiguration\nmetadata: {name: expected}\n"), 0o600)
}
