// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sallyport-dev/sallyport/test/helm"
)

// A pod runs the server as the Deployment says, and as a kubelet would: with the arguments
// and the environment of its container, the files of its volumes, and a token of its
// service account. What is not so: it listens on this machine, and is told by --kubeconfig
// where the API server is.
type pod struct {
	object *corev1.Pod
	ports  ports
	dir    string // of its volumes
	log    string

	cmd  *exec.Cmd
	done chan error
}

// ports are free ones, and how the chart is told of them. The Service has the webhook's:
// see callLocally.
type ports struct{ webhook, metrics, probes int }

func freePorts(t *testing.T) ports {
	t.Helper()
	var free [3]int
	for i := range free {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
		require.NoError(t, err)
		defer l.Close()
		free[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports{free[0], free[1], free[2]}
}

func (p ports) values() string {
	return fmt.Sprintf("--set=service.port=%d,ports.webhook=%d,ports.metrics=%d,ports.probes=%d", p.webhook, p.webhook, p.metrics, p.probes)
}

// callLocally leads the API server's calls of the Service to this machine, as kube-proxy
// leads them to pods.
func callLocally(t *testing.T) {
	t.Helper()
	kubectl(t, "", "patch", "service", "sallyport", "-n", helm.Namespace, "--field-manager=test", "--type=merge", "-p",
		`{"spec":{"type":"ExternalName","externalName":"localhost","clusterIP":null,"clusterIPs":null}}`)
}

// startPod starts a pod of the Deployment, which ends with the test, with more in its
// environment.
func startPod(t *testing.T, ports ports, env ...string) *pod {
	t.Helper()
	dir, c := t.TempDir(), newClient(t)
	p := &pod{object: podOf(t, c), ports: ports, dir: dir, log: filepath.Join(dir, "log"), done: make(chan error, 1)}
	require.NoError(t, c.Create(t.Context(), p.object))
	t.Cleanup(func() { p.remove(t) })
	config := kubectl(t, "", "get", "configmap", "sallyport", "-n", helm.Namespace, "-o", "jsonpath={.data.config\\.yaml}")
	expect := kubectl(t, "", "get", "configmap", "sallyport", "-n", helm.Namespace, "-o", "jsonpath={.data.webhooks\\.yaml}")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "webhooks.yaml"), []byte(expect), 0o600))

	container := &p.object.Spec.Containers[0]
	expand := strings.NewReplacer("$(POD_NAME)", p.object.Name, "$(POD_UID)", string(p.object.UID), "/etc/sallyport/", dir+"/", "/etc/sallyport-tls/", dir+"/")
	var args []string
	for _, arg := range container.Args {
		args = append(args, expand.Replace(arg))
	}
	log, err := os.Create(p.log)
	require.NoError(t, err)
	defer log.Close()
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary(), append(args, "--kubeconfig", p.kubeconfig(t))...)
	p.cmd.Env = append(append(os.Environ(), env...), "GOMEMLIMIT="+strconv.FormatInt(container.Resources.Limits.Memory().Value(), 10))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	require.NoError(t, p.cmd.Start())
	go func() { p.done <- p.cmd.Wait() }()
	require.NoError(t, plane.Guard(p.cmd.Process.Pid))
	return p
}

// kubeconfig returns a file with a token of the pod's service account, bound to the pod.
func (p *pod) kubeconfig(t *testing.T) string {
	t.Helper()
	c, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	token, err := c.CoreV1().ServiceAccounts(helm.Namespace).CreateToken(t.Context(), p.object.Spec.ServiceAccountName, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: p.object.Name, UID: p.object.UID,
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: plane.Config.Host, CertificateAuthorityData: plane.Config.CAData}
	config.AuthInfos["pod"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "pod"}
	config.CurrentContext = "test"
	file := filepath.Join(p.dir, "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, file))
	return file
}

// stop ends the server as Kubernetes does.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.done:
		p.done <- err
		require.NoError(t, err, p.logged())
	case <-time.After(time.Minute):
		require.Fail(t, "the server does not end", p.logged())
	}
}

// remove ends what is left of the pod.
func (p *pod) remove(t *testing.T) {
	t.Helper()
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // fails if it has ended
		err := <-p.done
		p.done <- err
	}
	if t.Failed() {
		t.Log(p.logged())
	}
	kubectl(t, "", "delete", "pod", "-n", helm.Namespace, p.object.Name, "--grace-period=0", "--force")
	// The garbage collector does so, for the pod is its owner.
	kubectl(t, "", "delete", "lease", "-n", helm.Namespace, "-l", "sallyport.dev/replica")
}

func (p *pod) logged() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// waitUntilReady waits for the readiness probe.
func (p *pod) waitUntilReady(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://localhost:%d/readyz", p.ports.probes), http.NoBody)
		require.NoError(c, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(c, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(c, err)
		require.NoError(c, res.Body.Close())
		require.Equal(c, http.StatusOK, res.StatusCode, string(body))
	}, time.Minute, 100*time.Millisecond)
}

// scrape reads the metrics as a ServiceMonitor says: by the CA in the Secret, and with the
// token of a service account that the chart lets read them.
func (p *pod) scrape(t *testing.T, account string) string {
	t.Helper()
	c, err := kubernetes.NewForConfig(plane.Config)
	require.NoError(t, err)
	token, err := c.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account, new(authenticationv1.TokenRequest), metav1.CreateOptions{})
	require.NoError(t, err)
	secret, err := c.CoreV1().Secrets(helm.Namespace).Get(t.Context(), "sallyport-certs", metav1.GetOptions{})
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(secret.Data["ca.crt"]))
	scraper := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: pool, ServerName: "sallyport." + helm.Namespace + ".svc", MinVersion: tls.VersionTLS13,
	}}}
	defer scraper.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://localhost:%d/metrics", p.ports.metrics), http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token.Status.Token)
	res, err := scraper.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, string(body))
	return string(body)
}
