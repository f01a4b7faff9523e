// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"istio.io/istio/pkg/log"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

func TestMain(m *testing.M) {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	os.Exit(m.Run())
}

func TestWorlds(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			w := loadWorld(t, file)
			require.NotEmpty(t, w.calls)
			t.Run("without", w.runWithout)
			t.Run("with", w.runWith)
		})
	}
}

func (w *world) runWithout(t *testing.T) {
	m := newMesh(t, w, w.raw(t))
	for _, c := range w.calls {
		compare(t, c, c.without, m.outcome(c))
	}
	m.checkValid(t)
	checkDangling(t, w.dangling, m.dangling(t))
}

func checkDangling(t *testing.T, want, got []string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("routes to clusters that there are not, want (-) and got (+):\n%s", diff)
	}
}

func (w *world) runWith(t *testing.T) {
	a := newAdmission(t, w)
	for _, doc := range documents(t, w.objects) {
		a.admit(t, doc)
	}
	a.checkVerdicts(t)
	a.checkAfter(t)
	for _, obj := range a.changed {
		require.NoError(t, complaint(t, obj), nameOf(obj))
	}
	m := newMesh(t, w, a.stored)
	for _, c := range w.calls {
		got := m.outcome(c)
		if c.today != "" && got == c.with {
			t.Errorf("%s goes where it should: remove the line \"today\"", c.text)
		}
		compare(t, c, cmp.Or(c.today, c.with), got)
		m.checkPatience(t, c)
	}
	m.checkValid(t)
	checkDangling(t, w.danglingToday, m.dangling(t))
	if !slices.ContainsFunc(w.calls, func(c *call) bool { return c.today != "" }) {
		m.checkWayOut(t)
		m.checkServerNames(t)
	}
}

func compare(t *testing.T, c *call, want, got string) {
	t.Helper()
	if got != want {
		t.Errorf("%s\nwant %s\n got %s", c.text, want, got)
	}
}

// checkAfter compares what is stored with the section after.yaml.
func (a *admission) checkAfter(t *testing.T) {
	t.Helper()
	for _, doc := range documents(t, a.world.after) {
		i := slices.IndexFunc(a.stored, func(o analysis.Object) bool { return nameOf(o) == nameOf(doc.Object) })
		require.GreaterOrEqual(t, i, 0, "%s is not stored", nameOf(doc.Object))
		if diff := gocmp.Diff(withoutAge(t, doc.Object), withoutAge(t, a.stored[i])); diff != "" {
			t.Errorf("%s, want (-) and got (+):\n%s", nameOf(doc.Object), diff)
		}
	}
}

func withoutAge(t *testing.T, obj analysis.Object) any {
	t.Helper()
	fields := fieldsOf(t, obj)
	delete(fields["metadata"].(map[string]any), "creationTimestamp")
	return fields
}
