// SPDX-License-Identifier: Apache-2.0

// Package corpus takes the cases of all rules through everything that judges: the
// engine, the webhook behind a real API server, and the command line.
package corpus

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/webhook"
)

// load returns the cases of all rules.
func load(t *testing.T) []*analysistest.Case {
	t.Helper()
	var all []*analysistest.Case
	for _, rule := range rules.All {
		file := path.Join(path.Dir(rule.Name), "testdata", strings.ReplaceAll(path.Base(rule.Name), "-", "_")+".txtar")
		archive, err := rules.Cases.ReadFile(file)
		require.NoError(t, err)
		cases, err := analysistest.Load(rule.Name, archive, "allow", "deny")
		require.NoError(t, err)
		all = append(all, cases...)
	}
	require.Greater(t, len(all), 500)
	return all
}

func newSuite(t *testing.T) *analysis.Suite {
	t.Helper()
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	return suite
}

// A finding is what all front ends tell of one, and the same.
type finding struct{ rule, field, action string }

func (f finding) String() string { return f.action + " " + f.field + " " + f.rule }

// byEngine returns the findings of the engine.
func byEngine(t *testing.T, suite *analysis.Suite, c *analysistest.Case) []finding {
	t.Helper()
	res := analysis.Check(suite, c.Input())
	require.Empty(t, res.Panics)
	var findings []finding
	for _, f := range res.Findings {
		findings = append(findings, finding{f.Rule.Name, f.Field, string(f.Verdict.Action)})
	}
	return findings
}

func only(findings []finding, action policy.Action) []string {
	var texts []string
	for _, f := range findings {
		if f.action == string(action) {
			texts = append(texts, f.field+" "+f.rule)
		}
	}
	slices.Sort(texts)
	return texts
}

// handlerFor returns the webhook's handler as it is for one case: with its policy,
// its configuration and its mesh.
func handlerFor(t *testing.T, suite *analysis.Suite, c *analysistest.Case) http.Handler {
	t.Helper()
	server, err := webhook.New(webhook.Options{
		Suite: suite, Config: c.Config, Mesh: c.Index, Policies: onePolicy{c.Policy},
		Certificates: noCertificates{}, Listener: noListener{},
		Now: func() time.Time { return analysistest.Now },
	})
	require.NoError(t, err)
	return server.Handler()
}

type onePolicy struct{ policy *policy.Policy }

// For implements [webhook.Policies].
func (p onePolicy) For(string) *policy.Policy { return p.policy }

// parseCause reads the rule out of a cause's message: "... (kind/subject)".
func parseCause(field, message string) (string, error) {
	i := strings.LastIndex(message, "(")
	if i < 0 || !strings.HasSuffix(message, ")") {
		return "", fmt.Errorf("message %q names no rule", message)
	}
	return field + " " + message[i+1:len(message)-1], nil
}
