// SPDX-License-Identifier: Apache-2.0

package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEmergency: the commands of deploy/EMERGENCY.md do what it says, in its order.
func TestEmergency(t *testing.T) {
	ports := freePorts(t)
	install(t, ports.values())
	callLocally(t)
	p := startPod(t, ports)
	p.waitUntilReady(t)
	refused(t, "must not be a wildcard")

	documented(t, "kubectl patch egresspolicy default")
	eventuallyAnswers(t, "must not be a wildcard")
	upgrade(t, ports.values(), "--force-conflicts")
	callLocally(t)
	kubectl(t, "", "patch", "egresspolicy", "default", "--type=json", "-p", `[{"op":"remove","path":"/spec/otherRules"}]`)
	refused(t, "must not be a wildcard")

	p.stop(t)
	refused(t, "failed calling webhook")
	documented(t, `kubectl patch validatingwebhookconfiguration sallyport --type=json -p '[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]'`)
	eventuallyAnswers(t, "")
	documented(t, `kubectl patch validatingwebhookconfiguration sallyport --type=json -p '[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"}]'`)
	refused(t, "failed calling webhook")

	documented(t, "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration sallyport")
	eventuallyAnswers(t, "")
	upgrade(t, ports.values(), "--force-conflicts")
	callLocally(t)
	refused(t, "failed calling webhook")
	again := startPod(t, ports)
	again.waitUntilReady(t)
	refused(t, "must not be a wildcard")
	again.stop(t)
}

// documented runs the command of the page that begins so.
func documented(t *testing.T, beginning string) {
	t.Helper()
	var command string
	for line := range strings.Lines(strings.ReplaceAll(readFile(t, "deploy/EMERGENCY.md"), "(or `", "\n")) {
		if strings.HasPrefix(line, beginning) {
			command, _, _ = strings.Cut(line, "`)")
		}
	}
	require.NotEmpty(t, command, "the page does not say %q", beginning)
	cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig, "PATH="+filepath.Dir(plane.Kubectl)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
