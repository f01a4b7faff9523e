// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/certs"
)

// doctor runs "sallyport doctor" and returns what it says and its exit code.
func doctor(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	args = append([]string{"doctor", "--kubeconfig", controlPlane.Kubeconfig}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(controlPlane.Dir, "sallyport"), args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	_ = cmd.Run() // the exit code tells
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// TestDoctor: a running installation is well, in words and in JSON.
func TestDoctor(t *testing.T) {
	out, stderr, code := doctor(t)
	require.Equal(t, 0, code, out+stderr)
	require.Regexp(t, `^Certificates \(mode self, phase steady\)
  ROLE +ENDS +LEFT +RENEWED FROM +NAMES
  leaf +20\S+Z +\d+d \(100 %\) +20\S+Z +sallyport.sallyport-system.svc, localhost
  ca +20\S+Z +\d+[dy]\S* \(100 %\) +20\S+Z +sallyport.sallyport-system.svc, localhost
  ValidatingWebhookConfiguration sallyport: trusts the certificate
  MutatingWebhookConfiguration sallyport: trusts the certificate
  This clock and the API server's differ by 0s.
All is well.
$`, out)

	out, _, code = doctor(t, "-o", "json")
	require.Equal(t, 0, code, out)
	var result struct {
		APIVersion, Kind string
		Certificates     certs.Status
		Summary          struct{ Problems, Unknown *int }
	}
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Equal(t, "cli.sallyport.dev/v1alpha1", result.APIVersion)
	require.Equal(t, "DoctorResult", result.Kind)
	require.Equal(t, certs.ModeSelf, result.Certificates.Mode)
	require.Len(t, result.Certificates.Certificates, 2)
	require.Zero(t, *result.Summary.Problems)
	require.Zero(t, *result.Summary.Unknown)
}

// TestDoctorFinds: what is wrong is named, and decides the exit code.
func TestDoctorFinds(t *testing.T) {
	out, _, code := doctor(t, "--secret", "nothing", "--webhook-configuration", "nothing")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "Wrong:   there is no secret sallyport-system/nothing: no server has made it yet, or its mode is another")
	require.Contains(t, out, "Wrong:   there is no ValidatingWebhookConfiguration nothing")

	out, _, code = doctor(t, "--service", "sallyport-system/another")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "does not verify: x509: certificate is valid for sallyport.sallyport-system.svc, localhost, not another.sallyport-system.svc")

	_, stderr, code := doctor(t, "-o", "xml")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, `--output "xml": want text or json`)
}

// TestDoctorMaySeeNothing: who has no permission learns what is missing.
func TestDoctorMaySeeNothing(t *testing.T) {
	_, kubeconfig, err := controlPlane.User("nobody-at-all")
	require.NoError(t, err)
	out, stderr, code := doctor(t, "--kubeconfig", kubeconfig)
	require.Equal(t, 3, code, out+stderr)
	require.Contains(t, out, `Unknown: read secret sallyport-system/sallyport-certs: secrets "sallyport-certs" is forbidden: User "nobody-at-all" cannot get`)
	require.Contains(t, out, "Unknown: read ValidatingWebhookConfiguration sallyport: ")
	require.Contains(t, stderr, "not everything could be looked at, see above")
}

// TestDoctorAway: a cluster that does not answer is not a sick one.
func TestDoctorAway(t *testing.T) {
	out, stderr, code := doctor(t, "--kubeconfig", away(t))
	require.Equal(t, 4, code, out)
	require.Contains(t, stderr, "connection refused")
}
