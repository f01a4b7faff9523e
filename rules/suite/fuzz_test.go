// SPDX-License-Identifier: Apache-2.0

package suite_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/lint"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/suite"
)

// FuzzSuite: whatever an archive has in it, it is run or refused, and each problem has
// its place in the archive.
func FuzzSuite(f *testing.F) {
	sample, err := os.ReadFile("../../deploy/samples/tests/start-in-warn.txtar")
	require.NoError(f, err)
	f.Add(sample)
	f.Add([]byte("-- deny/a.yaml --\n# at noon\n-- out/a.yaml --\n-- a.policy.yaml --\n"))
	all, err := analysis.NewSuite(rules.All...)
	require.NoError(f, err)
	opts := &suite.Options{
		Lint:     lint.Options{Suite: all, Mutators: rules.Mutators, Config: config.Default(), Namespace: "default", Now: time.Unix(0, 0)},
		Policies: &policy.Documents{},
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		s, err := suite.Parse("a.txtar", archive)
		if err != nil {
			return
		}
		result, err := s.Run(opts)
		if err != nil {
			require.Contains(t, err.Error(), "a.txtar")
			return
		}
		for _, c := range result.Cases {
			require.Empty(t, c.Report.Panics)
			for _, p := range c.Problems {
				require.Equal(t, "a.txtar", p.File)
				require.Positive(t, p.Line)
			}
		}
	})
}
