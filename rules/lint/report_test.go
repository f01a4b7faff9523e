// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var update = flag.Bool("update", false, "rewrite the expected reports")

// The files of the report that all formats are tested with.
var reportFiles = []struct{ name, text string }{
	{"deploy/shop a,b:50%.yaml", `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: denied, namespace: shop}
spec:
  hosts: [api.example.com, "*.example.com"]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: clean}
spec: {hosts: [api.example.com], resolution: DNS}
---
apiVersion: v1
kind: ConfigMap
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {generateName: audited-, namespace: shop}
spec: {hosts: [audited.example.com], resolution: DNS}
`},
	{"./exempt.yaml", `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: exempted, namespace: shop}
spec: {hosts: ["*.legacy.example.com"], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: unknown, namespace: shop}
spec: {hosts: [unknown.example.com], resolution: DNS}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: odd, namespace: shop}
spec: {hosts: [ö.example.com, unknown.example.com, "é\u0007{0}\n"], resolution: DNS, location: MESH_INTERNAL}
`},
}

const reportPolicies = `apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressPolicy
metadata: {name: default}
spec:
  namespaceSelector: {}
  rules:
  - {name: serviceentry/allowed-host, action: Audit}
  - {name: serviceentry/location, action: Deny, enforceFrom: "2027-02-01T00:00:00Z"}
---
apiVersion: policy.sallyport.dev/v1alpha1
kind: EgressExemption
metadata: {name: legacy}
spec:
  rules: [serviceentry/wildcard-host]
  namespace: shop
  kind: ServiceEntry
  name: exempted
  expiresAt: "2027-03-31T00:00:00Z"
  reason: moving to exact hosts
`

// reportRules have the names of real rules, for policies to know, and nothing
// else of them: so changes to those do not change what is expected here.
func reportRules() []*analysis.Rule {
	hosts := field.NewPath("spec", "hosts")
	eachHost := func(check func(*analysis.Pass, int, string)) analysis.Run {
		return analysis.On(func(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
			for i, h := range se.Spec.GetHosts() {
				check(pass, i, h)
			}
		})
	}
	reportIf := func(suspicious func(host string) bool, detail string) analysis.Run {
		return eachHost(func(pass *analysis.Pass, i int, host string) {
			if suspicious(host) {
				pass.Report(field.Invalid(hosts.Index(i), host, detail))
			}
		})
	}
	isWildcard := func(h string) bool { return strings.HasPrefix(h, "*") }
	isAudited := func(h string) bool { return strings.HasPrefix(h, "audited") }
	isOdd := func(h string) bool { return strings.HasPrefix(h, "é") }
	return []*analysis.Rule{
		{
			Name: "serviceentry/wildcard-host", Severity: analysis.Error, Run: reportIf(isWildcard, "must not be a wildcard"),
			Doc: "no wildcards\n\nA wildcard such as \"*.example.org\" <opens> every\nname.\n\nList the hosts.",
		},
		{
			Name: "serviceentry/unresolved-host", Doc: "resolve\n\nHosts should be resolved.", Severity: analysis.Warning,
			Run: analysis.On(func(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
				if se.Spec.GetResolution() == networking.ServiceEntry_NONE {
					pass.Report(field.NotSupported(field.NewPath("spec", "resolution"), se.Spec.GetResolution(), []string{"DNS"}))
				}
			}),
		},
		{Name: "serviceentry/allowed-host", Doc: "lists\n\nHosts must be listed.", Severity: analysis.Off, Run: reportIf(isAudited, "is on no list: 100%\nsure")},
		{Name: "serviceentry/location", Doc: "odd\n\nHosts must be even.", Severity: analysis.Error, Run: reportIf(isOdd, "is odd\x07: {0}")},
		{
			Name: "serviceentry/host-owner", Doc: "owners\n\nHosts have owners.", Severity: analysis.Error,
			Run: eachHost(func(pass *analysis.Pass, _ int, host string) {
				if host == "unknown.example.com" {
					pass.NotEvaluated("not all ServiceEntries are known")
				}
			}),
		},
	}
}

// newReport judges files by the rules and the policies.
func newReport(t *testing.T, rules ...*analysis.Rule) *lint.Report {
	t.Helper()
	suite, err := analysis.NewSuite(rules...)
	require.NoError(t, err)
	var documents policy.Documents
	require.NoError(t, documents.Parse("policies.yaml", []byte(reportPolicies)))
	policyFor, err := documents.Compile()
	require.NoError(t, err)
	linter := lint.New(lint.Options{
		Suite: suite, Config: config.Default(), Namespace: "default", PolicyFor: policyFor,
		Now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	for _, file := range reportFiles {
		for doc, err := range manifest.Documents(file.name, strings.NewReader(file.text)) {
			require.NoError(t, err)
			linter.Add(doc)
		}
	}
	return linter.Report()
}

// broken is a rule that fails.
var broken = &analysis.Rule{
	Name: "serviceentry/port", Doc: "ports\n\nPorts are ports.", Severity: analysis.Error,
	Run: analysis.On(func(*analysis.Pass, *networkingv1.ServiceEntry) { panic("at sea") }),
}

// requireGolden compares with a file in testdata, or writes it.
func requireGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.True(t, bytes.HasSuffix(got, []byte("\n")))
}

func TestFingerprint(t *testing.T) {
	report := newReport(t, reportRules()...)
	seen := map[string]bool{}
	for i := range report.Findings {
		f := &report.Findings[i]
		require.Regexp(t, "^[0-9a-f]{16}$", f.Fingerprint())
		seen[f.Fingerprint()] = true
		moved := *f
		moved.Error = field.Invalid(field.NewPath("elsewhere").Index(7), f.BadValue, "in other words")
		moved.Type = f.Type
		moved.Line += 3
		require.Equal(t, f.Fingerprint(), moved.Fingerprint())
		for _, change := range []func(){
			func() { moved.Type = field.ErrorTypeForbidden },
			func() { moved.Error = field.Invalid(nil, "another value", "") },
			func() { moved.Rule = broken },
		} {
			before := moved.Fingerprint()
			change()
			require.NotEqual(t, before, moved.Fingerprint())
		}
	}
	require.Len(t, seen, len(report.Findings))
}

// TestFingerprintIsStable: baselines and alerts outlive versions.
func TestFingerprintIsStable(t *testing.T) {
	report := newReport(t, reportRules()...)
	var got []string
	for i := range report.Findings {
		got = append(got, report.Findings[i].Rule.Name+" "+report.Findings[i].Fingerprint())
	}
	requireGolden(t, "fingerprints.txt", []byte(strings.Join(got, "\n")+"\n"))
}
