// SPDX-License-Identifier: Apache-2.0

package rules_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const istioMesh = `
apiVersion: config.sallyport.dev/v1alpha1
kind: Configuration
mesh:
  egressGateways:
  - name: default
    gateway: default/istio-egressgateway
    service: istio-egressgateway.istio-system.svc.cluster.local
`

var wanted = regexp.MustCompile("# want `([^`]+)`")

// TestIstioDocumentation: what Istio's pages about egress tell people to apply is
// not denied, but where a comment says so.
func TestIstioDocumentation(t *testing.T) {
	files, err := filepath.Glob("testdata/istio/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 7)
	conf, err := config.Parse([]byte(istioMesh))
	require.NoError(t, err)
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			linter := lint.New(lint.Options{
				Suite: suite, Mutators: rules.Mutators, Config: conf, Namespace: "default", Complete: true, Now: time.Unix(0, 0),
				PolicyFor: func(string) *policy.Policy { return policy.Default() },
			})
			for doc, err := range manifest.Documents(file, bytes.NewReader(data)) {
				require.NoError(t, err)
				require.Empty(t, doc.Problems)
				linter.Add(doc)
			}
			report := linter.Report()
			require.Empty(t, report.Panics)
			var want, got []string
			for line := range strings.Lines(string(data)) {
				if m := wanted.FindStringSubmatch(line); m != nil {
					want = append(want, m[1])
				}
			}
			for _, f := range report.Findings {
				if f.Verdict.Action == policy.Deny {
					require.Contains(t, f.Document.SourceLine(f.Line), "# want", "%s: %s", f.Rule.Name, f.Error)
					got = append(got, f.Rule.Name)
				}
			}
			require.ElementsMatch(t, want, got)
		})
	}
}
