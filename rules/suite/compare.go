// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// compare notes findings that are not expected, and expectations that are not met.
func (c *CaseResult) compare(expected []Expectation) {
	denied, explained := false, false
	for i := range c.Report.Findings {
		f := &c.Report.Findings[i]
		denied = denied || f.Verdict.Action == policy.Deny
		var met bool
		if expected, met = Meet(expected, &f.Finding, f.Line); met || f.Verdict.Action != policy.Deny {
			continue
		}
		explained = true
		p := c.File.errorf(f.Line, "denied, which no comment here expects: %s: %s (%s)", f.Field, f.Detail, f.Rule.Name)
		p.Column = f.Column
		c.Problems = append(c.Problems, p)
	}
	for i := range expected {
		e := &expected[i]
		c.Problems = append(c.Problems, c.File.errorf(e.Line, "no finding on this line meets: %s", e))
		explained = true
	}
	switch isDeny := path.Dir(c.Name) == deny; {
	case isDeny && !denied && !explained:
		c.Problems = append(c.Problems, c.File.errorf(0, "nothing is denied; objects that are allowed belong into %s", allow))
	case !isDeny && denied && !explained:
		c.Problems = append(c.Problems, c.File.errorf(0, "denied as expected; such objects belong into %s", deny))
	}
}

// compareStored compares the objects, now that mutators have been applied, with
// out/NAME.yaml, if there is one.
func (b *bench) compareStored(c *CaseResult, docs []*manifest.Document) error {
	file := b.suite.find("out/" + path.Base(c.Name))
	if file == nil {
		return nil
	}
	wanted, err := file.documents()
	if err != nil {
		return err
	}
	for _, want := range wanted {
		i := slices.IndexFunc(docs, func(doc *manifest.Document) bool { return sameObject(want, doc) })
		if i < 0 {
			return file.errorf(0, "%s: %s is not in %s", file.Name, objectName(want), c.File.Name)
		}
		diff, err := diffObjects(want, docs[i])
		if err != nil {
			return file.errorf(0, "%s: %v", file.Name, err)
		}
		if diff != "" {
			at, _ := want.Position("spec")
			c.Problems = append(c.Problems, file.errorf(at.Line, "%s is stored otherwise:\n%s", objectName(want), diff))
		}
	}
	return nil
}

// diffObjects returns the differences between two objects as those of their YAML, or
// nothing.
func diffObjects(want, got *manifest.Document) (string, error) {
	wanted, err := toYAML(want)
	if err != nil {
		return "", err
	}
	stored, err := toYAML(got)
	if err != nil || bytes.Equal(wanted, stored) {
		return "", err
	}
	diff, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
		A: difflib.SplitLines(string(wanted)), FromFile: "expected",
		B: difflib.SplitLines(string(stored)), ToFile: "stored",
		Context: 3,
	})
	return strings.TrimRight(diff, "\n"), err
}

func toYAML(doc *manifest.Document) ([]byte, error) {
	data, err := json.Marshal(doc.Object)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(data)
}

// locate turns an error in a section into a problem with its place in the file.
func (f *File) locate(err error) error {
	if at, ok := errors.AsType[*manifest.Error](err); ok {
		p := f.errorf(at.Line, "%s", at.Message)
		p.Column = at.Column
		return p
	}
	if at, ok := errors.AsType[*lineError](err); ok {
		return f.errorf(at.line, "%v", at.err)
	}
	return f.errorf(0, "%s: %v", f.Name, err)
}
