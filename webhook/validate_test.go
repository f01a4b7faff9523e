// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

func TestValidateAllowsPlainly(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
	finalizer := withMeta(t, wildcardEntry, `"finalizers":["example.com/hold"]`)
	tests := []struct {
		name string
		req  *admissionv1.AdmissionRequest
	}{
		{"a clean object", newRequest(t, cleanEntry)},
		{"a kind that has no rules", newRequest(t, `{"apiVersion":"networking.istio.io/v1","kind":"Sidecar","metadata":{"name":"a"},"spec":{}}`)},
		{"removing a finalizer from an object with a violation", newRequest(t, wildcardEntry, update(finalizer))},
		{"a status update", newRequest(t, wildcardEntry, func(r *admissionv1.AdmissionRequest) { r.SubResource = "status" })},
		{"a deletion", newRequest(t, wildcardEntry, func(r *admissionv1.AdmissionRequest) {
			r.Operation, r.OldObject = admissionv1.Delete, r.Object
			r.Object.Raw = nil
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := review(t, url, tt.req)
			require.True(t, res.Allowed, res.Result)
			require.Empty(t, res.Warnings)
			require.Empty(t, res.AuditAnnotations)
		})
	}
}

func TestValidateDenies(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
	res := review(t, url, newRequest(t, wildcardEntry))
	require.False(t, res.Allowed)
	require.EqualValues(t, http.StatusUnprocessableEntity, res.Result.Code)
	require.Equal(t, metav1.StatusReasonInvalid, res.Result.Reason)
	require.Equal(t, "ServiceEntry", res.Result.Details.Kind)
	require.Equal(t, "all", res.Result.Details.Name)
	require.Len(t, res.Result.Details.Causes, 1)
	cause := res.Result.Details.Causes[0]
	require.Equal(t, "spec.hosts[0]", cause.Field)
	require.Contains(t, cause.Message, `"*.example.com"`)
	require.Contains(t, cause.Message, "(serviceentry/wildcard-host)")
	require.Contains(t, res.Result.Message, "sallyport explain serviceentry/wildcard-host")
	require.Equal(t, "serviceentry/wildcard-host", res.AuditAnnotations["deny"])
	require.Equal(t, "built-in", res.AuditAnnotations["policies"])
}

func TestValidateUpdate(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
	touched := withMeta(t, wildcardEntry, `"labels":{"a":"b"}`)
	second := replace(t, touched, `"*.example.com"`, `"*.example.org","*.example.com"`)
	deleting := `"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/hold"]`

	t.Run("an old violation warns", func(t *testing.T) {
		res := review(t, url, newRequest(t, touched, update(wildcardEntry)))
		require.True(t, res.Allowed)
		require.Len(t, res.Warnings, 1)
		require.Contains(t, res.Warnings[0], "serviceentry/wildcard-host: spec.hosts[0]: admitted only because it was there before")
		require.Equal(t, "serviceentry/wildcard-host", res.AuditAnnotations["warn"])
	})
	t.Run("a new violation is refused, and it alone is named", func(t *testing.T) {
		res := review(t, url, newRequest(t, second, update(wildcardEntry)))
		require.False(t, res.Allowed)
		require.Len(t, res.Result.Details.Causes, 1)
		require.Equal(t, "spec.hosts[0]", res.Result.Details.Causes[0].Field)
		require.Len(t, res.Warnings, 1, "the old one warns")
	})
	t.Run("an object on its way out can be changed", func(t *testing.T) {
		res := review(t, url, newRequest(t, withMeta(t, touched, deleting), update(withMeta(t, wildcardEntry, deleting))))
		require.True(t, res.Allowed)
	})
	t.Run("but not used for a new violation", func(t *testing.T) {
		res := review(t, url, newRequest(t, withMeta(t, second, deleting), update(withMeta(t, wildcardEntry, deleting))))
		require.False(t, res.Allowed)
	})
	t.Run("an old object that cannot be decoded excuses nothing", func(t *testing.T) {
		res := review(t, url, newRequest(t, touched, update(`{"spec":7}`)))
		require.False(t, res.Allowed)
	})
}

func TestValidateExistingViolationsDeny(t *testing.T) {
	opts := testOptions(t)
	strict := *policy.Default()
	strict.ExistingViolations = policy.DenyExisting
	opts.Policies = onePolicy{&strict}
	url := serve(t, newTestServer(t, opts)) + ValidatePath
	touched := withMeta(t, wildcardEntry, `"labels":{"a":"b"}`)
	require.False(t, review(t, url, newRequest(t, touched, update(wildcardEntry))).Allowed)

	deleting := `"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["example.com/hold"]`
	res := review(t, url, newRequest(t, withMeta(t, touched, deleting), update(withMeta(t, wildcardEntry, deleting))))
	require.True(t, res.Allowed, "a deletion must be able to finish")
}

func TestValidateGenerateName(t *testing.T) {
	url := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
	// The validator sees the name that the API server has made.
	object := replace(t, wildcardEntry, `"name":"all"`, `"generateName":"all-","name":"all-x7f2q"`)
	res := review(t, url, newRequest(t, object))
	require.False(t, res.Allowed)
	require.Equal(t, "all-*", res.Result.Details.Name)
}

// capped is the built-in policy with a cap.
func capped(action policy.Action, from *time.Time) *policy.Policy {
	pol := *policy.Default()
	pol.OtherRules = policy.Cap{MaxAction: action, EnforceFrom: from}
	return &pol
}

func TestValidateCapped(t *testing.T) {
	tomorrow, yesterday := time.Now().AddDate(0, 0, 1), time.Now().AddDate(0, 0, -1)
	judged := func(pol *policy.Policy) *admissionv1.AdmissionResponse {
		opts := testOptions(t)
		opts.Policies = onePolicy{pol}
		return review(t, serve(t, newTestServer(t, opts))+ValidatePath, newRequest(t, wildcardEntry))
	}

	res := judged(capped(policy.Warn, &tomorrow))
	require.True(t, res.Allowed)
	require.Len(t, res.Warnings, 1)
	require.Contains(t, res.Warnings[0], "serviceentry/wildcard-host: spec.hosts[0]: denied from "+tomorrow.UTC().Format(time.DateOnly)+": ")
	require.Equal(t, "serviceentry/wildcard-host", res.AuditAnnotations["warn"])

	res = judged(capped(policy.Warn, nil))
	require.True(t, res.Allowed)
	require.Len(t, res.Warnings, 1)
	require.NotContains(t, res.Warnings[0], "denied from")

	res = judged(capped(policy.Audit, &tomorrow))
	require.True(t, res.Allowed)
	require.Empty(t, res.Warnings)
	require.Equal(t, "serviceentry/wildcard-host", res.AuditAnnotations["audit"])

	require.False(t, judged(capped(policy.Audit, &yesterday)).Allowed)
}

func TestValidateUndecodable(t *testing.T) {
	bad := replace(t, cleanEntry, `"number":443`, `"number":"many"`)
	t.Run("is denied with the reason", func(t *testing.T) {
		url := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
		res := review(t, url, newRequest(t, bad))
		require.False(t, res.Allowed)
		require.EqualValues(t, http.StatusBadRequest, res.Result.Code)
		require.Contains(t, res.Result.Message, `ServiceEntry "api" cannot be decoded`)
	})
	t.Run("only warns where everything is capped", func(t *testing.T) {
		opts := testOptions(t)
		opts.Policies = onePolicy{capped(policy.Audit, nil)}
		res := review(t, serve(t, newTestServer(t, opts))+ValidatePath, newRequest(t, bad))
		require.True(t, res.Allowed)
		require.Len(t, res.Warnings, 1)
	})
	t.Run("only warns where nothing denies", func(t *testing.T) {
		opts := testOptions(t)
		lenient := *policy.Default()
		lenient.Rules = map[string]policy.RuleSetting{}
		for _, r := range opts.Suite.Rules() {
			lenient.Rules[r.Name] = policy.RuleSetting{Action: policy.Warn}
		}
		opts.Policies = onePolicy{&lenient}
		res := review(t, serve(t, newTestServer(t, opts))+ValidatePath, newRequest(t, bad))
		require.True(t, res.Allowed)
		require.Len(t, res.Warnings, 1)
	})
}

func TestValidateManyFindings(t *testing.T) {
	opts := testOptions(t)
	noisy := &analysis.Rule{
		Name: "serviceentry/noisy", Doc: "noise\n\ntext", Severity: analysis.Error,
		Run: analysis.On(func(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
			for i, h := range se.Spec.GetHosts() {
				severity := analysis.Error
				if i >= 30 {
					severity = analysis.Warning
				}
				pass.ReportAs(severity, field.Invalid(field.NewPath("spec", "hosts").Index(i), h, strings.Repeat("ä", 200)))
			}
		}),
	}
	opts.Suite = suiteOf(t, append(opts.Suite.Rules(), noisy)...)
	url := serve(t, newTestServer(t, opts)) + ValidatePath
	hosts := make([]string, 40)
	for i := range hosts {
		hosts[i] = `"` + strings.Repeat("a", 200) + `.example.com"`
	}
	res := review(t, url, newRequest(t, replace(t, cleanEntry, `"api.example.com"`, strings.Join(hosts, ","))))
	require.False(t, res.Allowed)
	require.Len(t, res.Result.Details.Causes, maxCauses)
	require.Contains(t, res.Result.Message, "and 5 more")
	require.Len(t, res.Warnings, maxWarnings+1)
	require.Equal(t, "sallyport: and 5 more", res.Warnings[maxWarnings])
	for _, w := range res.Warnings {
		require.LessOrEqual(t, len(w), maxWarningLength)
		require.True(t, strings.ToValidUTF8(w, "?") == w, "cut inside a character")
	}
	require.NotContains(t, res.Result.Message, strings.Repeat("a", maxValueLength))
}

func TestPanicIsAnInternalError(t *testing.T) {
	opts := testOptions(t)
	boom := &analysis.Rule{
		Name: "virtualservice/boom", Doc: "boom\n\ntext", Severity: analysis.Error,
		Run: analysis.On(func(*analysis.Pass, *networkingv1.VirtualService) { panic("boom") }),
	}
	opts.Suite = suiteOf(t, append(opts.Suite.Rules(), boom)...)
	opts.Mutators = append([]*analysis.Mutator{{
		Name: "mutate/boom", Apply: analysis.To(func(*analysis.Edit, *networkingv1.VirtualService) { panic("boom") }),
	}}, opts.Mutators...)
	s := newTestServer(t, opts)
	url := serve(t, s)
	for _, path := range []string{ValidatePath, MutatePath} {
		status, body := post(t, url+path, encode(t, newRequest(t, bareRoute)))
		require.Equal(t, http.StatusInternalServerError, status)
		require.Contains(t, string(body), "internal error")
		require.NotContains(t, string(body), "boom", "the cause is for the log")
	}
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.panics.WithLabelValues("virtualservice/boom")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.panics.WithLabelValues("mutate/boom")), 0)
}

// TestNotReadyIsUnavailable (R17).
func TestNotReadyIsUnavailable(t *testing.T) {
	opts := testOptions(t)
	notYet := errors.New("the mesh is not read yet")
	opts.Ready = map[string]func(context.Context) error{"mesh": func(context.Context) error { return notYet }}
	url := serve(t, newTestServer(t, opts))
	for _, path := range []string{ValidatePath, MutatePath} {
		status, body := post(t, url+path, encode(t, newRequest(t, cleanEntry)))
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Contains(t, string(body), "the mesh is not read yet")
	}
	notYet = nil
	require.True(t, review(t, url+ValidatePath, newRequest(t, cleanEntry)).Allowed)
}

func TestUnknownPoliciesAreUnavailable(t *testing.T) {
	opts := testOptions(t)
	opts.Policies = &shopless{}
	url := serve(t, newTestServer(t, opts))
	for _, path := range []string{ValidatePath, MutatePath} {
		status, _ := post(t, url+path, encode(t, newRequest(t, bareRoute)))
		require.Equal(t, http.StatusServiceUnavailable, status)
	}
}

func TestMetrics(t *testing.T) {
	opts := testOptions(t)
	s := newTestServer(t, opts)
	url := serve(t, s)
	review(t, url+ValidatePath, newRequest(t, wildcardEntry))
	review(t, url+ValidatePath, newRequest(t, cleanEntry, func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }))
	review(t, url+MutatePath, newRequest(t, bareRoute))
	post(t, url+ValidatePath, []byte("{"))

	problems, err := promlint.NewWithMetricFamilies(gather(t, opts.Registry)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	count := func(labels ...string) float64 {
		return testutil.ToFloat64(s.metrics.requests.WithLabelValues(labels...))
	}
	require.InDelta(t, 1, count("CREATE", "ServiceEntry", "deny", "false"), 0)
	require.InDelta(t, 1, count("CREATE", "ServiceEntry", "allow", "true"), 0)
	require.InDelta(t, 1, count("CREATE", "VirtualService", "mutate", "false"), 0)
	require.InDelta(t, 1, count("", "", "error", "false"), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.findings.WithLabelValues("serviceentry/wildcard-host", "Deny", "admission", "false")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.injections.WithLabelValues("mutate/timeout", "false")), 0)
}

type onePolicy struct{ policy *policy.Policy }

func (p onePolicy) For(string) *policy.Policy { return p.policy }

// shopless knows every namespace but the tests'.
type shopless struct{}

func (*shopless) For(namespace string) *policy.Policy {
	if namespace == "shop" {
		return nil
	}
	return policy.Default()
}

func suiteOf(t *testing.T, rules ...*analysis.Rule) *analysis.Suite {
	t.Helper()
	suite, err := analysis.NewSuite(rules...)
	require.NoError(t, err)
	return suite
}

func gather(t *testing.T, registry prometheus.Gatherer) []*dto.MetricFamily {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, families)
	return families
}
