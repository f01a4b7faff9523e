// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// everyHost reports every host.
func everyHost(severity Severity) *Rule {
	return &Rule{
		Name: "serviceentry/wildcard-host", Severity: severity,
		Doc: "no host is good\n\nNone.",
		Run: On(func(pass *Pass, se *networkingv1.ServiceEntry) {
			for i, h := range se.Spec.GetHosts() {
				pass.Report(field.Invalid(field.NewPath("spec", "hosts").Index(i), h, "is a host"))
			}
		}),
	}
}

func entry(hosts ...string) *networkingv1.ServiceEntry {
	se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "shop"}}
	se.Spec.Hosts = hosts
	return se
}

func mustSuite(t *testing.T, rules ...*Rule) *Suite {
	t.Helper()
	suite, err := NewSuite(rules...)
	require.NoError(t, err)
	return suite
}

func TestSeverityDecidesWithoutPolicy(t *testing.T) {
	for severity, want := range map[Severity]policy.Action{Error: policy.Deny, Warning: policy.Warn} {
		res := Check(mustSuite(t, everyHost(severity)), Input{Object: entry("a"), Now: now})
		require.Len(t, res.Findings, 1)
		require.Equal(t, want, res.Findings[0].Verdict.Action)
		require.Equal(t, "serviceentry/wildcard-host", res.Findings[0].Origin)
		require.Equal(t, want == policy.Deny, res.Denied())
	}
	require.Empty(t, Check(mustSuite(t, everyHost(Off)), Input{Object: entry("a"), Now: now}).Findings)
	require.Empty(t, Check(mustSuite(t, everyHost(Error)), Input{Object: new(networkingv1.Gateway), Now: now}).Findings)
}

func TestPolicyDecides(t *testing.T) {
	tests := []struct {
		name    string
		setting policy.RuleSetting
		want    policy.Action
		from    time.Time
	}{
		{"warn", policy.RuleSetting{Action: policy.Warn}, policy.Warn, time.Time{}},
		{"audit", policy.RuleSetting{Action: policy.Audit}, policy.Audit, time.Time{}},
		{"deny from now on", policy.RuleSetting{Action: policy.Deny, EnforceFrom: now}, policy.Deny, time.Time{}},
		{"deny later", policy.RuleSetting{Action: policy.Deny, EnforceFrom: now.Add(time.Second)}, policy.Warn, now.Add(time.Second)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pol := *policy.Default()
			pol.Rules = map[string]policy.RuleSetting{"serviceentry/wildcard-host": tt.setting}
			suite := mustSuite(t, everyHost(Off))
			res := Check(suite, Input{Object: entry("a"), Policy: &pol, Now: now})
			require.Len(t, res.Findings, 1)
			require.Equal(t, Verdict{Action: tt.want, EnforceFrom: tt.from}, res.Findings[0].Verdict)
			require.Equal(t, tt.want == policy.Deny, suite.Denies(ServiceEntry, &pol, now))
			require.False(t, suite.Denies(Gateway, &pol, now))
			require.False(t, suite.Denies(nil, &pol, now))
		})
	}
}

func TestCapDecides(t *testing.T) {
	later := now.Add(time.Second)
	tests := []struct {
		name     string
		severity Severity
		limit    policy.Cap
		want     policy.Action
		from     time.Time
	}{
		{"an error warns", Error, policy.Cap{MaxAction: policy.Warn}, policy.Warn, time.Time{}},
		{"an error warns until its day", Error, policy.Cap{MaxAction: policy.Warn, EnforceFrom: &later}, policy.Warn, later},
		{"an error is audited until its day", Error, policy.Cap{MaxAction: policy.Audit, EnforceFrom: &later}, policy.Audit, later},
		{"an error on its day", Error, policy.Cap{MaxAction: policy.Warn, EnforceFrom: &now}, policy.Deny, time.Time{}},
		{"a warning stays", Warning, policy.Cap{MaxAction: policy.Warn, EnforceFrom: &later}, policy.Warn, time.Time{}},
		{"a warning is audited", Warning, policy.Cap{MaxAction: policy.Audit, EnforceFrom: &later}, policy.Audit, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pol := *policy.Default()
			pol.OtherRules = tt.limit
			suite := mustSuite(t, everyHost(tt.severity))
			in := Input{Object: entry("a"), Policy: &pol, Now: now}
			res := Check(suite, in)
			require.Len(t, res.Findings, 1)
			require.Equal(t, Verdict{Action: tt.want, EnforceFrom: tt.from}, res.Findings[0].Verdict)
			require.Equal(t, tt.want == policy.Deny, suite.Denies(ServiceEntry, &pol, now))

			in.Old = in.Object
			want := Verdict{Action: tt.want, EnforceFrom: tt.from, Unchanged: true}
			if tt.want == policy.Deny {
				want.Action = policy.Warn
			}
			require.Equal(t, want, Check(suite, in).Findings[0].Verdict, "what was there before is no worse")
			require.Empty(t, Check(mustSuite(t, everyHost(Off)), in).Findings, "what is off stays off")
		})
	}
}

func TestRatchet(t *testing.T) {
	tests := []struct {
		name     string
		old, obj []string
		want     []policy.Action
	}{
		{"nothing new", []string{"a", "b"}, []string{"a", "b"}, []policy.Action{policy.Warn, policy.Warn}},
		{"in another order", []string{"a", "b"}, []string{"b", "a"}, []policy.Action{policy.Warn, policy.Warn}},
		{"one removed", []string{"a", "b"}, []string{"b"}, []policy.Action{policy.Warn}},
		{"one added in front", []string{"a"}, []string{"b", "a"}, []policy.Action{policy.Deny, policy.Warn}},
		{"one doubled", []string{"a"}, []string{"a", "a"}, []policy.Action{policy.Warn, policy.Deny}},
		{"one replaced", []string{"a"}, []string{"b"}, []policy.Action{policy.Deny}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Input{Object: entry(tt.obj...), Old: entry(tt.old...), Now: now}
			suite := mustSuite(t, everyHost(Error))
			var got []policy.Action
			for _, f := range Check(suite, in).Findings {
				got = append(got, f.Verdict.Action)
				require.Equal(t, f.Verdict.Action == policy.Warn, f.Verdict.Unchanged)
			}
			require.Equal(t, tt.want, got)

			strict := *policy.Default()
			strict.ExistingViolations = policy.DenyExisting
			in.Policy = &strict
			require.True(t, Check(suite, in).Denied())
		})
	}
}

func TestRatchetNeedsTheSameKind(t *testing.T) {
	res := Check(mustSuite(t, everyHost(Error)), Input{Object: entry("a"), Old: new(networkingv1.Gateway), Now: now})
	require.True(t, res.Denied())
}

func TestExemption(t *testing.T) {
	set, err := policy.Compile(nil, []*v1alpha1.EgressExemption{{
		ObjectMeta: metav1.ObjectMeta{Name: "for-now"},
		Spec: v1alpha1.EgressExemptionSpec{
			Rules: []v1alpha1.RuleName{"serviceentry/wildcard-host"}, Namespace: "shop", Kind: "ServiceEntry", Name: "a",
			Hosts: []string{"*.example.com"}, ExpiresAt: metav1.NewTime(now.Add(time.Hour)), Reason: "moving",
		},
	}})
	require.NoError(t, err)
	in := Input{Object: entry("www.example.com", "example.org"), Policy: set.For("shop", nil), Now: now}
	res := Check(mustSuite(t, everyHost(Error)), in)
	require.Len(t, res.Findings, 2, "an exempted finding is reported")
	require.Equal(t, Verdict{
		Action: policy.Audit, Exemption: "for-now", ExemptUntil: now.Add(time.Hour).UTC(), ExemptFrom: policy.Deny,
	}, res.Findings[0].Verdict)
	require.Equal(t, Verdict{Action: policy.Deny}, res.Findings[1].Verdict)

	in.Now = now.Add(time.Hour)
	require.Equal(t, policy.Deny, Check(mustSuite(t, everyHost(Error)), in).Findings[0].Verdict.Action, "it has expired")
}

func TestPanicsAreKeptApart(t *testing.T) {
	boom := &Rule{
		Name: "serviceentry/boom", Severity: Error, Doc: "boom\n\nText.",
		Run: On(func(*Pass, *networkingv1.ServiceEntry) { panic("boom") }),
	}
	res := Check(mustSuite(t, boom, everyHost(Error)), Input{Object: entry("a"), Now: now})
	require.Len(t, res.Findings, 1, "the other rules go on")
	require.Len(t, res.Panics, 1)
	require.EqualError(t, res.Panics[0], "serviceentry/boom panicked: boom")
	require.Contains(t, string(res.Panics[0].Stack), "analysis_test.go")

	_, failure := Mutate([]*Mutator{{Name: "mutate/boom", Apply: To(func(*Edit, *networkingv1.ServiceEntry) { panic("boom") })}}, Input{Object: entry("a")})
	require.EqualError(t, failure, "mutate/boom panicked: boom")
}

func TestNotEvaluated(t *testing.T) {
	rule := everyHost(Error)
	rule.Run = On(func(pass *Pass, _ *networkingv1.ServiceEntry) {
		if !pass.Mesh.Complete(Gateway) && pass.Mesh.ServiceEntry("shop", "a") == nil {
			pass.NotEvaluated("the mesh is not known")
		}
	})
	obj := entry("a")
	res := Check(mustSuite(t, rule), Input{Object: obj, Now: now})
	require.Equal(t, []NotEvaluated{{Rule: rule, Object: obj, Reason: "the mesh is not known"}}, res.NotEvaluated)
}

func TestValidate(t *testing.T) {
	change := func(f func(*Rule)) *Rule {
		r := *everyHost(Error)
		f(&r)
		return &r
	}
	tests := []struct {
		name  string
		rules []*Rule
		says  string
	}{
		{"a name without a package", []*Rule{change(func(r *Rule) { r.Name = "host" })}, "not of the form package/subject"},
		{"a name in upper case", []*Rule{change(func(r *Rule) { r.Name = "serviceentry/Host" })}, "not of the form"},
		{"one name twice", []*Rule{everyHost(Error), everyHost(Warning)}, "not unique"},
		{"no doc", []*Rule{change(func(r *Rule) { r.Doc = "" })}, "doc is not"},
		{"no text", []*Rule{change(func(r *Rule) { r.Doc = "a title" })}, "doc is not"},
		{"a title with a period", []*Rule{change(func(r *Rule) { r.Doc = "A title.\n\nText." })}, "doc is not"},
		{"no severity", []*Rule{change(func(r *Rule) { r.Severity = 0 })}, "no severity"},
		{"no code", []*Rule{change(func(r *Rule) { r.Run = nil })}, "runs on no kind"},
		{"the same kind twice", []*Rule{change(func(r *Rule) { r.Run = append(r.Run, r.Run...) })}, "on one twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorContains(t, Validate(tt.rules), tt.says)
			_, err := NewSuite(tt.rules...)
			require.Error(t, err)
		})
	}
	require.NoError(t, Validate([]*Rule{everyHost(Error)}))
}

func TestKindFor(t *testing.T) {
	require.Equal(t, AuthorizationPolicy, KindFor(schema.GroupVersionKind{Group: "security.istio.io", Version: "v1beta1", Kind: "AuthorizationPolicy"}))
	require.Nil(t, KindFor(schema.GroupVersionKind{Group: "security.istio.io", Version: "v1alpha3", Kind: "AuthorizationPolicy"}))
	require.Nil(t, KindFor(schema.GroupVersionKind{Version: "v1", Kind: "Pod"}))
	for _, k := range Kinds() {
		require.Equal(t, k, KindOf(k.New()), k.Kind)
		require.NotNil(t, k.Spec(k.New()), k.Kind)
	}
}

func TestSplitPath(t *testing.T) {
	tests := map[string][]string{
		"":                                 nil,
		"spec":                             {"spec"},
		"spec.http[0].match[12].uri":       {"spec", "http", "0", "match", "12", "uri"},
		"metadata.annotations[a.b/c-d]":    {"metadata", "annotations", "a.b/c-d"},
		"spec.endpoints[0].ports[http].x":  {"spec", "endpoints", "0", "ports", "http", "x"},
		"metadata.labels[istio.io/x].name": {"metadata", "labels", "istio.io/x", "name"},
		"spec[":                            {"spec", ""},
	}
	for path, want := range tests {
		require.Equal(t, want, SplitPath(path), path)
	}
}

func TestPatch(t *testing.T) {
	m := &Mutator{Name: "mutate/a"}
	ops, err := Patch([]Injection{
		{Op: Add, Mutator: m, Path: field.NewPath("spec", "http").Index(0).Child("timeout"), Value: durationpb.New(1500 * time.Millisecond)},
		{Op: Add, Mutator: m, Path: field.NewPath("spec", "http").Index(1).Child("retries"), Value: &networking.HTTPRetry{Attempts: 2, RetryOn: "5xx"}},
		{Op: Add, Mutator: m, Path: field.NewPath("metadata", "labels").Key("istio.io/use~waypoint"), Value: "a"},
	})
	require.NoError(t, err)
	want := []Operation{
		{"add", "/spec/http/0/timeout", []byte(`"1.500s"`)},
		{"add", "/spec/http/1/retries", []byte(`{"attempts":2,"retryOn":"5xx"}`)},
		{"add", "/metadata/labels/istio.io~1use~0waypoint", []byte(`"a"`)},
	}
	require.Equal(t, want, ops)
	_, err = Patch([]Injection{{Mutator: m, Path: field.NewPath("spec"), Value: func() {}}})
	require.ErrorContains(t, err, "mutate/a at spec")
}

func BenchmarkCheck(b *testing.B) {
	suite, err := NewSuite(everyHost(Error))
	require.NoError(b, err)
	clean, dirty := entry(), entry("a")
	for name, obj := range map[string]*networkingv1.ServiceEntry{"clean": clean, "finding": dirty} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Check(suite, Input{Object: obj, Now: now})
			}
		})
	}
}
