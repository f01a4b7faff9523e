// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocker builds the image with a real engine, if there is one.
func TestDocker(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "docker", "info").CombinedOutput(); err != nil {
		t.Skipf("No Docker engine answers: %v: %s", err, out)
	}
	const image = "sallyport-image-test"
	run := func(name string, args ...string) string {
		// Cleanups have no context any more.
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		cmd.Dir = root
		return execute(t, cmd)
	}
	const tag = image + ":" + stamp
	run("make", "image", "IMAGE="+image, "VERSION="+stamp, "IMAGE_OUTPUT=--load")
	t.Cleanup(func() { run("docker", "image", "rm", tag) })
	require.Equal(t, "65532:65532", strings.TrimSpace(run("docker", "image", "inspect", "--format", "{{.Config.User}}", tag)))
	require.Contains(t, run("docker", "run", "--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", tag, "version"), stamp)
}
