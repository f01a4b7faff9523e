// SPDX-License-Identifier: Apache-2.0

package analysistest

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

const (
	allowed = "-- allow/a.yaml --\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: shop}\nspec:\n  hosts: [a.example.com]\n"
	denied  = "-- deny/a.yaml --\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a, namespace: shop}\nspec:\n  hosts:\n  - a.example.com\n  - bad # want `hosts\\[1\\]: Invalid value: \"bad\"`\n"
)

// noBad reports hosts that are called bad, at the path that it is given.
func noBad(path *field.Path, reads ...*analysis.Kind) *analysis.Rule {
	return &analysis.Rule{
		Name: "serviceentry/no-bad", Severity: analysis.Error, Doc: "no bad hosts\n\nNone.", Reads: reads,
		Run: analysis.On(func(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
			for i, h := range se.Spec.GetHosts() {
				if h == "bad" {
					pass.Report(field.Invalid(path.Index(i), h, "must not be bad"))
				}
			}
		}),
	}
}

var hosts = field.NewPath("spec", "hosts")

// TestSlips: what the author of a rule can get wrong is found.
func TestSlips(t *testing.T) {
	looks := noBad(hosts)
	looks.Run = analysis.On(func(pass *analysis.Pass, _ *networkingv1.ServiceEntry) { pass.Mesh.ServiceEntry("a", "b") })
	panics := noBad(hosts)
	panics.Run = analysis.On(func(*analysis.Pass, *networkingv1.ServiceEntry) { panic("boom") })
	tests := []struct {
		name    string
		rule    *analysis.Rule
		archive string
		says    string
	}{
		{"all is well", noBad(hosts), allowed + denied, ""},
		{"no allow case", noBad(hosts), denied, "has no allow case"},
		{"no deny case", noBad(hosts), allowed, "has no deny case"},
		{"a path that leads nowhere", noBad(field.NewPath("spec", "Hosts")), allowed + denied, "spec.Hosts[1] leads nowhere"},
		{"a finding that nobody expects", noBad(hosts), strings.Replace(allowed, "a.example.com", "bad", 1) + denied, "allow/a.yaml:5: unexpected finding (Deny)"},
		{"an expectation that nothing meets", noBad(hosts), allowed + strings.Replace(denied, "- bad", "- good", 1), "deny/a.yaml:7: no finding (Deny) matches"},
		{"an expectation of another action", noBad(hosts), allowed + strings.Replace(denied, "want", "warn", 1), "no finding (Warn) matches"},
		{"a deny case that is not denied", noBad(hosts), allowed + denied + strings.Replace(allowed, "allow/a", "deny/b", 1), "deny/b.yaml: denied is false"},
		{"a read that is not declared", looks, allowed, "reads ServiceEntry, but does not declare it"},
		{"a declared read that does not happen", noBad(hosts, analysis.Gateway), allowed + denied, "declares that it reads Gateway, but does so in no case"},
		{"a panic", panics, allowed, "panicked: boom"},
		{"an unknown section", noBad(hosts), allowed + "-- allowed/b.yaml --\n", "is no section of such an archive"},
		{"a section twice", noBad(hosts), allowed + allowed, "stands twice"},
		{"an unknown field", noBad(hosts), strings.Replace(allowed, "hosts", "hots", 1), `unknown field "spec.hots", did you mean "hosts"?`},
		{"an unknown field in a file", noBad(hosts), allowed + denied + strings.NewReplacer("allow/", "offline/", "hosts", "hots").Replace(allowed), "offline/a.yaml: denied is false"},
		{"no namespace", noBad(hosts), strings.Replace(allowed, ", namespace: shop", "", 1), "has no namespace"},
		{"two objects", noBad(hosts), allowed + "---\n" + strings.TrimPrefix(allowed, "-- allow/a.yaml --\n"), "has 2 objects, want 1"},
		{"a bad expectation", noBad(hosts), allowed + strings.Replace(denied, "`hosts", "`(hosts", 1), "error parsing regexp"},
		{"a bad policy", noBad(hosts), "-- policy.yaml --\nkind: Policy\n" + allowed, "policy.yaml: document 1"},
		{"a bad configuration", noBad(hosts), "-- config.yaml --\nkind: Policy\n" + allowed, "config.yaml: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := errors.Join(checkRule(tt.rule, []byte(tt.archive))...)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestUnmatched(t *testing.T) {
	problems := unmatched([]string{"serviceentry/no-bad"}, map[string][]byte{"no-good": nil})
	require.EqualError(t, errors.Join(problems...), "serviceentry/no-bad has no cases: testdata/no_bad.txtar is missing\n"+
		"testdata/no_good.txtar: there is nothing of that name")
}

const (
	before = "-- in/a.yaml --\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\nspec:\n  http:\n  - {name: a}\n"
	after  = "-- out/a.yaml --\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a, namespace: shop}\nspec:\n  http:\n  - {name: a, timeout: 1s}\n"
)

func mutator(apply func(*analysis.Edit, *networkingv1.VirtualService)) *analysis.Mutator {
	return &analysis.Mutator{Name: "mutate/one-second", Apply: analysis.To(apply)}
}

func TestMutatorSlips(t *testing.T) {
	path := field.NewPath("spec", "http").Index(0).Child("timeout")
	set := func(edit *analysis.Edit, vs *networkingv1.VirtualService) {
		if r := vs.Spec.GetHttp()[0]; r.GetTimeout() == nil {
			r.Timeout = durationpb.New(1e9)
			edit.Set(path, r.GetTimeout())
		}
	}
	tests := []struct {
		name    string
		apply   func(*analysis.Edit, *networkingv1.VirtualService)
		archive string
		says    string
	}{
		{"all is well", set, before + after, ""},
		{"nothing to do", set, strings.Replace(after, "out/", "in/", 1), ""},
		{"a change that is not expected", set, before, "differ"},
		{"a change that is not made", func(*analysis.Edit, *networkingv1.VirtualService) {}, before + after, "differ"},
		{"a change that is not recorded", func(_ *analysis.Edit, vs *networkingv1.VirtualService) {
			vs.Spec.GetHttp()[0].Timeout = durationpb.New(1e9)
		}, before + after, "differ"},
		{"a record without a change", func(edit *analysis.Edit, _ *networkingv1.VirtualService) {
			edit.Set(path, durationpb.New(1e9))
		}, before + after, "the object has changes that the patch has not, or the reverse"},
		{"a change at every application", func(edit *analysis.Edit, vs *networkingv1.VirtualService) {
			vs.Spec.GetHttp()[0].Timeout = durationpb.New(1e9)
			edit.Set(path, durationpb.New(1e9))
		}, before + after, "a second application sets spec.http[0].timeout"},
		{"a panic", func(*analysis.Edit, *networkingv1.VirtualService) { panic("boom") }, before, "panicked: boom"},
		{"no case", set, "", "has no cases"},
		{"an out without an in", set, before + after + strings.Replace(after, "/a.", "/b.", 1), "out/b.yaml has no in/b.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := errors.Join(checkMutator(mutator(tt.apply), []byte(tt.archive))...)
			if tt.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.says)
		})
	}
}
