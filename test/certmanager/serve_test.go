// SPDX-License-Identifier: Apache-2.0

package certmanager

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// The binary asks cert-manager for its certificate, the API server calls it, and
// the doctor finds it well.
func TestServe(t *testing.T) {
	folder, err := crds(t.Context())
	require.NoError(t, err)
	own := cluster.New(t, cluster.Options{CRDPaths: []string{folder}})
	startCertManager(t, own)
	server, err := sallyport.Start(context.WithoutCancel(t.Context()), own, sallyport.Options{Args: []string{"--cert-mode", "cert-manager"}})
	require.NoError(t, err, "it is asked by the API server")
	out, err := exec.CommandContext(t.Context(), filepath.Join(own.Dir, "sallyport"), "doctor", "--kubeconfig", own.Kubeconfig).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "Certificates (mode cert-manager)")
	require.Contains(t, string(out), "ValidatingWebhookConfiguration sallyport: trusts the certificate")
	require.NoError(t, server.Stop())
}
