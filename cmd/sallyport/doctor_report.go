// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook/doctor"
)

// A diagnosis is what "sallyport doctor" found, in the format of "-o json". Fields
// are added to it, never renamed or removed.
type diagnosis struct {
	APIVersion   string           `json:"apiVersion"`
	Kind         string           `json:"kind"`
	Certificates *certs.Status    `json:"certificates"`
	Sections     []doctor.Section `json:"sections"`
	Summary      struct {
		Problems int `json:"problems"`
		Unknown  int `json:"unknown"`
	} `json:"summary"`
}

func newDiagnosis(certificates *certs.Status, sections []doctor.Section) *diagnosis {
	d := &diagnosis{APIVersion: "cli.sallyport.dev/v1alpha1", Kind: "DoctorResult", Certificates: certificates, Sections: sections}
	d.Summary.Problems, d.Summary.Unknown = len(d.problems()), len(d.unknown())
	return d
}

func (d *diagnosis) problems() []string {
	all := slices.Clone(d.Certificates.Problems)
	for _, s := range d.Sections {
		all = append(all, s.Problems...)
	}
	return all
}

func (d *diagnosis) unknown() []string {
	all := slices.Clone(d.Certificates.Unknown)
	for _, s := range d.Sections {
		all = append(all, s.Unknown...)
	}
	return all
}

// verdict returns the exit code.
func (d *diagnosis) verdict() error {
	switch {
	case d.Summary.Unknown > 0:
		return &exitError{code: exitUnreadable, err: errors.New("not everything could be looked at, see above")}
	case d.Summary.Problems > 0:
		return &exitError{code: exitFindings}
	}
	return nil
}

func (d *diagnosis) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

func (d *diagnosis) writeText(w io.Writer) error {
	var text strings.Builder
	writeCertificates(&text, d.Certificates, time.Now())
	for _, s := range d.Sections {
		if len(s.Facts) > 0 {
			fmt.Fprintln(&text, s.Name)
		}
		for _, fact := range s.Facts {
			fmt.Fprintln(&text, "  "+fact)
		}
	}
	for _, problem := range d.problems() {
		fmt.Fprintln(&text, "Wrong:  ", problem)
	}
	for _, unknown := range d.unknown() {
		fmt.Fprintln(&text, "Unknown:", unknown)
	}
	if d.Summary.Problems+d.Summary.Unknown == 0 {
		fmt.Fprintln(&text, "All is well.")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func writeCertificates(w io.Writer, s *certs.Status, now time.Time) {
	fmt.Fprintln(w, describeCertificates(s))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Certificates) > 0 {
		fmt.Fprintln(table, "  ROLE\tENDS\tLEFT\tRENEWED FROM\tNAMES")
	}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		fmt.Fprintf(table, "  %s\t%s\t%s (%.0f %%)\t%s\t%s\n", c.Role, day(c.NotAfter),
			duration.HumanDuration(max(0, c.NotAfter.Sub(now))), 100*c.LifeLeft, day(c.RenewAfter), strings.Join(c.DNSNames, ", "))
	}
	_ = table.Flush() // a builder takes everything
	known := slices.ContainsFunc(s.Certificates, func(c certs.Certificate) bool { return c.Role == certs.RoleLeaf })
	for _, t := range s.Targets {
		fmt.Fprintf(w, "  %s %s: %s\n", t.Kind, t.Name, describeTarget(&t, known))
	}
	skew := time.Duration(s.ClockSkewSeconds * float64(time.Second))
	fmt.Fprintf(w, "  This clock and the API server's differ by %s.\n", skew.Abs().Round(time.Second))
}

func describeCertificates(s *certs.Status) string {
	var parts []string
	if s.Mode != "" {
		parts = append(parts, "mode "+string(s.Mode))
	}
	if s.Phase != "" {
		parts = append(parts, "phase "+s.Phase)
	}
	if s.RetireAfter != nil {
		parts = append(parts, "the old CA is trusted until "+day(*s.RetireAfter))
	}
	if len(parts) == 0 {
		return "Certificates"
	}
	return "Certificates (" + strings.Join(parts, ", ") + ")"
}

// describeTarget says whether it works; known says that there is a certificate to
// compare its CAs with.
func describeTarget(t *certs.Target, known bool) string {
	switch {
	case !t.Exists:
		return "not there"
	case len(t.Distrusting) > 0:
		return "does not trust the certificate: " + strings.Join(slices.Sorted(slices.Values(t.Distrusting)), ", ")
	case !t.Injected:
		return "has not got the present CA bundle"
	case !known:
		return "has a valid CA, or leaves it to the API server whom to trust"
	}
	return "trusts the certificate"
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
