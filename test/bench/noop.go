// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	certutil "k8s.io/client-go/util/cert"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// A noopServer is a process that answers every review with "allowed".
type noopServer struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// startNoop runs this program as a no-op webhook, in a process of its own as
// Sallyport is, and registers it for the same requests in its namespace.
func startNoop(ctx context.Context, c *cluster.Cluster) (*noopServer, error) {
	cert, key, err := certutil.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(c.Dir, "noop.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(c.Dir, "noop.key"), key, 0o600),
	)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &noopServer{cmd: exec.CommandContext(context.WithoutCancel(ctx), self, "-serve-noop", c.Dir)}
	s.cmd.Stderr = os.Stderr
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the no-op webhook does not start: %w", err), s.stop())
	}
	_, port, _ := strings.Cut(strings.TrimSpace(address), ":")
	url := "https://localhost:" + port
	err = errors.Join(
		sallyport.Register(ctx, c.Config, url, sallyport.Configurations{Name: "noop", Namespaces: []string{withNoop}, CABundle: cert}),
		sallyport.Register(ctx, c.Config, url+patching, sallyport.Configurations{Name: "patching", Namespaces: []string{withPatching}, CABundle: cert}),
	)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// stop closes the server's standard input, at which it ends.
func (s *noopServer) stop() error {
	return errors.Join(s.stdin.Close(), s.cmd.Wait())
}

// patching begins the paths under which the no-op webhook answers with a fixed
// patch where Sallyport would inject: what the API server does with it is not
// Sallyport's time.
const patching = "/patching"

var fixedPatch = []byte(`[{"op":"add","path":"/spec/http/0/timeout","value":"15s"},` +
	`{"op":"add","path":"/spec/http/0/retries","value":{"attempts":2,"retryOn":"connect-failure,refused-stream,reset-before-request"}}]`)

// serveNoop is the cheapest webhook that can be written in this language. It
// ends with its parent: when standard input is closed.
func serveNoop(ctx context.Context, dir string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, listener.Addr())
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}},
		Handler:           http.HandlerFunc(allow),
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	err = server.ServeTLS(listener, filepath.Join(dir, "noop.crt"), filepath.Join(dir, "noop.key"))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func allow(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(w, "no review", http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if r.URL.Path == patching+"/mutate" {
		review.Response.Patch, review.Response.PatchType = fixedPatch, new(admissionv1.PatchTypeJSONPatch)
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}
