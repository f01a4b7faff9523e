// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/test/cluster"
)

// TestOneVerdict: the engine, the webhook and the command line say the same of
// every case.
//
// The command line knows no object as it was before, so updates are left to the
// other two.
func TestOneVerdict(t *testing.T) {
	suite := newSuite(t)
	binary := build(t)
	for _, c := range load(t) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			want := byEngine(t, suite, c)
			denied, warned := byWebhook(t, suite, c)
			require.Equal(t, only(want, policy.Deny), denied, "the webhook denies")
			require.Equal(t, len(only(want, policy.Warn))+exempted(suite, c), warned, "the webhook warns")
			if c.Old == nil {
				got := byCommandLine(t, binary, c)
				for _, action := range []policy.Action{policy.Deny, policy.Warn, policy.Audit} {
					require.Equal(t, only(want, action), only(got, action), "the command line: %s", action)
				}
			}
		})
	}
}

// exempted counts the findings that would deny or warn, but for an exemption.
func exempted(suite *analysis.Suite, c *analysistest.Case) int {
	n := 0
	for _, f := range analysis.Check(suite, c.Input()).Findings {
		if from := f.Verdict.ExemptFrom; from == policy.Deny || from == policy.Warn {
			n++
		}
	}
	return n
}

// byWebhook returns the fields and rules for which the handler denies a case, and
// the number of its warnings.
func byWebhook(t *testing.T, suite *analysis.Suite, c *analysistest.Case) (denied []string, warned int) {
	t.Helper()
	raw := c.Document.Raw
	kind := metav1.GroupVersionKind(c.Document.GVK)
	req := &admissionv1.AdmissionRequest{
		UID: "x", Kind: kind, Resource: metav1.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: c.Document.Kind.Resource},
		Name: c.Document.Object.GetName(), Namespace: c.Document.Object.GetNamespace(),
		Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
	}
	if c.Old != nil {
		old, err := json.Marshal(c.Old)
		require.NoError(t, err)
		req.Operation, req.OldObject = admissionv1.Update, runtime.RawExtension{Raw: old}
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req,
	})
	require.NoError(t, err)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handlerFor(t, suite, c).ServeHTTP(recorder, request)
	require.Equal(t, http.StatusOK, recorder.Code, recorder.Body.String())
	var review admissionv1.AdmissionReview
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &review))
	warned = countWarnings(review.Response.Warnings)
	if review.Response.Allowed {
		return nil, warned
	}
	for _, cause := range review.Response.Result.Details.Causes {
		text, err := parseCause(cause.Field, cause.Message)
		require.NoError(t, err)
		denied = append(denied, text)
	}
	slices.Sort(denied)
	return denied, warned
}

// countWarnings counts those that are left out, too: "and N more".
func countWarnings(warnings []string) int {
	if len(warnings) == 0 {
		return 0
	}
	var more int
	last := warnings[len(warnings)-1]
	if i := strings.LastIndex(last, "and "); i >= 0 && strings.HasSuffix(last, " more") {
		if err := json.Unmarshal([]byte(strings.TrimSuffix(last[i+len("and "):], " more")), &more); err == nil {
			return len(warnings) - 1 + more
		}
	}
	return len(warnings)
}

// byCommandLine returns the findings of "sallyport check".
func byCommandLine(t *testing.T, binary string, c *analysistest.Case) []finding {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, data, 0o600))
		return file
	}
	args := []string{"check", "--complete", "--no-mutate", "-o", "json", "--at", analysistest.Now.Format(time.RFC3339), write("case.yaml", c.Data)}
	if c.PolicyData != nil {
		args = append(args, "--policy", write("policy.yaml", c.PolicyData))
	}
	if c.ConfigData != nil {
		args = append(args, "--config", write("config.yaml", c.ConfigData))
	}
	if len(c.Context) > 0 {
		var mesh [][]byte
		for _, doc := range c.Context {
			mesh = append(mesh, doc.Raw)
		}
		args = append(args, "--context", write("mesh.yaml", bytes.Join(mesh, []byte("\n---\n"))))
	}
	out, err := exec.CommandContext(t.Context(), binary, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		err = nil // findings
	}
	require.NoError(t, err)
	var result struct {
		Findings []struct{ Rule, Action, Field string }
	}
	require.NoError(t, json.Unmarshal(out, &result))
	var findings []finding
	for _, f := range result.Findings {
		findings = append(findings, finding{f.Rule, f.Field, f.Action})
	}
	return findings
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sallyport")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/sallyport")
	command.Dir = cluster.Root()
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}
