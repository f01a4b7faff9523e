// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A Baseline has the findings that were there on a day, so that only those count that
// come later. Findings are recognised by [Finding.Fingerprint]; as many as there were
// with one, and no more, are known.
type Baseline struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Findings   []BaselineFinding `json:"findings"`
}

// BaselineFinding is a finding in a [Baseline]. All but the fingerprint and the count
// is there for people.
type BaselineFinding struct {
	Fingerprint string `json:"fingerprint"`
	Count       int    `json:"count"`
	Rule        string `json:"rule"`
	Object      string `json:"object"`
	// Value is what was found if that is text.
	Value string `json:"value,omitempty"`
}

const baselineKind = "Baseline"

// Baseline returns the findings of the report, without those that are exempted: these
// shall come back when the exemption has expired.
func (r *Report) Baseline() *Baseline {
	b := &Baseline{APIVersion: resultVersion, Kind: baselineKind, Findings: []BaselineFinding{}}
	known := map[string]int{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Verdict.Exemption != "" {
			continue
		}
		fingerprint := f.Fingerprint()
		if at, ok := known[fingerprint]; ok {
			b.Findings[at].Count++
			continue
		}
		known[fingerprint] = len(b.Findings)
		value, _ := f.BadValue.(string)
		b.Findings = append(b.Findings, BaselineFinding{
			Fingerprint: fingerprint, Count: 1, Rule: f.Rule.Name, Object: objectName(f.Document), Value: value,
		})
	}
	slices.SortFunc(b.Findings, func(x, y BaselineFinding) int {
		return cmp.Or(cmp.Compare(x.Object, y.Object), cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Value, y.Value), cmp.Compare(x.Fingerprint, y.Fingerprint))
	})
	return b
}

// ParseBaseline reads what [Baseline.Write] has written.
func ParseBaseline(data []byte) (*Baseline, error) {
	b := new(Baseline)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(b); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the object")
	}
	if b.APIVersion != resultVersion || b.Kind != baselineKind {
		return nil, fmt.Errorf("want apiVersion %s and kind %s, not %q and %q", resultVersion, baselineKind, b.APIVersion, b.Kind)
	}
	return b, nil
}

// Write writes the baseline, one line for each field, so that differences are small.
func (b *Baseline) Write(w io.Writer) error { return writeJSON(w, b) }

// Accept marks the findings that the baseline has, the first of those that share a
// fingerprint. It returns how many findings of the baseline the judged objects do not
// have any more; it may be about others too.
func (r *Report) Accept(b *Baseline) (gone int) {
	left := map[string]int{}
	for _, f := range b.Findings {
		left[f.Fingerprint] += f.Count
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if fingerprint := f.Fingerprint(); f.Verdict.Exemption == "" && left[fingerprint] > 0 {
			left[fingerprint]--
			f.Baselined = true
		}
	}
	judged := map[string]bool{}
	for _, doc := range r.Documents {
		judged[objectName(doc)] = true
	}
	for _, f := range b.Findings {
		if judged[f.Object] {
			gone += max(left[f.Fingerprint], 0)
			left[f.Fingerprint] = 0
		}
	}
	r.compared = true
	return gone
}
