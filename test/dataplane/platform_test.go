// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
)

// TestPlatform takes what deploy/platform has through Sallyport and istiod's
// validation. Nobody may complain.
func TestPlatform(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(platformDir, "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	w := newWorld(t, map[string][]byte{"platform": []byte("gateway.yaml")})
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(data, []byte("# ")), "the comment on top says what it is")
			a := newAdmission(t, w)
			for doc, err := range manifest.Documents(file, bytes.NewReader(data)) {
				require.NoError(t, err)
				require.Empty(t, doc.Problems)
				if doc.Object == nil { // the waypoint, which TestAmbient takes through istiod
					require.Equal(t, "gateway.networking.k8s.io", doc.GVK.Group)
					continue
				}
				raw := doc.Object.DeepCopyObject().(analysis.Object)
				require.NoError(t, complaint(t, raw))
				a.admit(t, doc)
				require.Empty(t, a.verdicts)
			}
			require.Empty(t, a.changed, "Sallyport would change it")
		})
	}
}

// TestReadme looks for the worlds that the README of deploy/platform names: in
// brackets, and in the last column of tables.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(platformDir, "README.md"))
	require.NoError(t, err)
	groups := regexp.MustCompile("(?m)(?:\\(|\\| )((?:`[a-z0-9_/]+`(?:, )?)+)(?:\\)| \\|$)").FindAllSubmatch(readme, -1)
	require.Greater(t, len(groups), 20)
	for _, group := range groups {
		for _, name := range regexp.MustCompile("[a-z0-9_/]+").FindAllString(string(group[1]), -1) {
			require.FileExists(t, filepath.Join("testdata", name+".txtar"))
		}
	}
}
