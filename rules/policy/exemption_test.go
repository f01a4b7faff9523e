// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestExempted(t *testing.T) {
	const rest = `expiresAt: "2027-03-31T00:00:00Z", reason: moving`
	docs := parse(t,
		exemption("legacy", `rules: [serviceentry/wildcard-host, serviceentry/public-suffix], namespace: shop, kind: ServiceEntry, name: legacy, hosts: ["*.legacy.example.com", one.example.com], `+rest),
		exemption("mirrors", "rules: [virtualservice/external-mirror], namespace: shop, kind: VirtualService, "+rest),
		exemption("a-later-one", `rules: [virtualservice/external-mirror], namespace: shop, kind: VirtualService, expiresAt: "2028-01-01T00:00:00Z", reason: still moving`),
		exemption("elsewhere", "rules: [serviceentry/open-proxy], namespace: other, kind: ServiceEntry, "+rest))
	policyFor, err := docs.Compile()
	require.NoError(t, err)
	end := time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC)
	now := end.Add(-time.Second)

	subject := Subject{Rule: "serviceentry/wildcard-host", Kind: "ServiceEntry", Name: "legacy", Value: "*.legacy.example.com"}
	with := func(change func(*Subject)) Subject {
		s := subject
		change(&s)
		return s
	}
	mirror := Subject{Rule: "virtualservice/external-mirror", Kind: "VirtualService", Name: "any", Value: "any"}
	tests := []struct {
		name    string
		subject Subject
		now     time.Time
		want    string
	}{
		{"itself", subject, now, "legacy"},
		{"another of its rules", with(func(s *Subject) { s.Rule = "serviceentry/public-suffix" }), now, "legacy"},
		{"a host below", with(func(s *Subject) { s.Value = "A.legacy.example.com." }), now, "legacy"},
		{"a wildcard below", with(func(s *Subject) { s.Value = "*.a.legacy.example.com" }), now, "legacy"},
		{"its other host", with(func(s *Subject) { s.Value = "one.example.com" }), now, "legacy"},
		{"a wider wildcard", with(func(s *Subject) { s.Value = "*.example.com" }), now, ""},
		{"a host that only ends alike", with(func(s *Subject) { s.Value = "xlegacy.example.com" }), now, ""},
		{"a host below an exact one", with(func(s *Subject) { s.Value = "a.one.example.com" }), now, ""},
		{"a value that is no host", with(func(s *Subject) { s.Value = "443" }), now, ""},
		{"no value", with(func(s *Subject) { s.Value = "" }), now, ""},
		{"another rule", with(func(s *Subject) { s.Rule = "serviceentry/open-proxy" }), now, ""},
		{"another kind", with(func(s *Subject) { s.Kind = "VirtualService" }), now, ""},
		{"another object", with(func(s *Subject) { s.Name = "legacy2" }), now, ""},
		{"an object whose name is not made yet", with(func(s *Subject) { s.Name = "" }), now, ""},
		{"at its end", subject, end, ""},
		{"any object and value", mirror, now, "a-later-one"},
		{"the one that still holds", mirror, end, "a-later-one"},
		{"another namespace's", Subject{Rule: "serviceentry/open-proxy", Kind: "ServiceEntry"}, now, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, nameOf(policyFor("shop").Exempted(tt.subject, tt.now)))
		})
	}
	require.Equal(t, "elsewhere", nameOf(policyFor("other").Exempted(Subject{Rule: "serviceentry/open-proxy", Kind: "ServiceEntry"}, now)))
	require.Nil(t, Default().Exempted(subject, now))
}

func nameOf(e *Exemption) string {
	if e == nil {
		return ""
	}
	return e.Name
}
