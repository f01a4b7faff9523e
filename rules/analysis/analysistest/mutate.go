// SPDX-License-Identifier: Apache-2.0

package analysistest

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// RunMutators runs each mutator over the cases in its archive in the calling
// package's testdata, and that mutator alone. The sections in/NAME.yaml are the
// objects as users write them, out/NAME.yaml as they are stored; an object
// without the latter is to be left alone.
func RunMutators(t *testing.T, mutators []*analysis.Mutator) {
	t.Helper()
	archives, err := Archives(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range mutators {
		names = append(names, m.Name)
	}
	report(t, unmatched(names, archives))
	for _, m := range mutators {
		t.Run(m.Name, func(t *testing.T) {
			if archive, ok := archives[subject(m.Name)]; ok {
				report(t, checkMutator(m, archive))
			}
		})
	}
}

// checkMutator returns what is wrong with a mutator or with its cases.
func checkMutator(m *analysis.Mutator, archive []byte) []error {
	cases, err := Load(m.Name, archive, "in")
	if err != nil {
		return []error{err}
	}
	if len(cases) == 0 {
		return []error{fmt.Errorf("%s: %w", m.Name, errNoCases)}
	}
	out := map[string][]byte{}
	for _, f := range txtar.Parse(archive).Files {
		if name, ok := strings.CutPrefix(f.Name, "out/"); ok {
			out[name] = f.Data
		}
	}
	var problems []error
	read := map[*analysis.Kind]bool{}
	for _, c := range cases {
		want, ok := out[path.Base(c.Name)]
		if !ok {
			want = c.Data
		}
		delete(out, path.Base(c.Name))
		if err := checkMutation(m, c, want, read); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c, err))
		}
	}
	for name := range out {
		problems = append(problems, fmt.Errorf("%s: out/%s has no in/%s", m.Name, name, name))
	}
	return append(problems, compareReads(m.Name, m.Reads, read)...)
}

// checkMutation applies the mutator to the case: as a patch of what the user
// wrote the result must be want, and a second time nothing must change.
func checkMutation(m *analysis.Mutator, c *Case, want []byte, read map[*analysis.Kind]bool) error {
	wanted, err := single("out", want)
	if err != nil {
		return err
	}
	in := c.Input()
	in.Mesh = &recorder{mesh: in.Mesh, read: read}
	injections, failure := analysis.Mutate([]*analysis.Mutator{m}, in)
	if failure != nil {
		return failure
	}
	patched, err := applyPatch(c, injections)
	if err != nil {
		return err
	}
	if diff := diffJSON(wanted.Raw, patched); diff != "" {
		return fmt.Errorf("want (-) and got (+) differ:\n%s", diff)
	}
	mutated, err := json.Marshal(c.Document.Object)
	if err != nil {
		return err
	}
	typed, err := json.Marshal(wanted.Object)
	if err != nil {
		return err
	}
	if diff := diffJSON(typed, mutated); diff != "" {
		return fmt.Errorf("the object has changes that the patch has not, or the reverse:\n%s", diff)
	}
	again, failure := analysis.Mutate([]*analysis.Mutator{m}, in)
	if failure != nil {
		return failure
	}
	if len(again) > 0 {
		return fmt.Errorf("a second application sets %s", again[0].Path)
	}
	return nil
}

func applyPatch(c *Case, injections []analysis.Injection) ([]byte, error) {
	ops, err := analysis.Patch(injections)
	if err != nil || len(ops) == 0 {
		return c.Document.Raw, err
	}
	encoded, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	patch, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		return nil, err
	}
	return patch.Apply(c.Document.Raw)
}

// diffJSON compares two JSON values without regard to the order of keys.
func diffJSON(want, got []byte) string {
	var w, g any
	if err := json.Unmarshal(want, &w); err != nil {
		return err.Error()
	}
	if err := json.Unmarshal(got, &g); err != nil {
		return err.Error()
	}
	return cmp.Diff(w, g)
}
