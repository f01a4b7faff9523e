// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An authorizerFunc stands for the API server's authorizers.
type authorizerFunc func(user string) (bool, error)

func (f authorizerFunc) MayBreakGlass(_ context.Context, user *authenticationv1.UserInfo) (bool, error) {
	return f(user.Username)
}

func unasked(t *testing.T) authorizerFunc {
	return func(string) (bool, error) { t.Error("nobody is to be asked"); return true, nil }
}

func withReason(tb testing.TB, object, reason string) string {
	tb.Helper()
	return withMeta(tb, object, fmt.Sprintf(`"annotations":{%q:%q}`, BreakGlassAnnotation, reason))
}

func TestBreakGlass(t *testing.T) {
	opts := testOptions(t)
	var log bytes.Buffer
	opts.Log = funcr.New(func(_, args string) { log.WriteString(args + "\n") }, funcr.Options{})
	opts.BreakGlass = authorizerFunc(func(user string) (bool, error) { return user == "alice", nil })
	s := newTestServer(t, opts)
	object := withReason(t, wildcardEntry, "incident 7\nsee chat")
	res := review(t, serve(t, s)+ValidatePath, newRequest(t, object, by("alice")))
	require.True(t, res.Allowed, res.Result)
	require.Equal(t, []string{"denied by serviceentry/wildcard-host, let through by break-glass: incident 7 see chat"}, res.Warnings)
	require.Equal(t, map[string]string{
		"breakglass": "incident 7\nsee chat", "breakglass-rules": "serviceentry/wildcard-host", "policies": "built-in",
	}, res.AuditAnnotations)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.breakglass.WithLabelValues(glassAllowed, "false")), 0)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.requests.WithLabelValues("CREATE", "ServiceEntry", "breakglass", "false")), 0)
	require.Equal(t, 1, strings.Count(log.String(), "\n"))
	require.NotContains(t, log.String(), "alice", "(R29) at the default level; the API server's audit log has the user")
	require.Contains(t, log.String(), `"reason"="incident 7\nsee chat"`)
}

func TestBreakGlassIsForbidden(t *testing.T) {
	opts := testOptions(t)
	opts.BreakGlass = authorizerFunc(func(string) (bool, error) { return false, nil })
	s := newTestServer(t, opts)
	res := review(t, serve(t, s)+ValidatePath, newRequest(t, withReason(t, wildcardEntry, "incident 7"), by("bob"),
		func(r *admissionv1.AdmissionRequest) { r.DryRun = new(true) }))
	requireGlassCause(t, res, metav1.CauseTypeForbidden, `user "bob" may not break the glass`)
	require.Equal(t, "serviceentry/wildcard-host", res.AuditAnnotations["deny"])
	require.NotContains(t, res.AuditAnnotations, "breakglass")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.breakglass.WithLabelValues(glassForbidden, "true")), 0)
}

func TestBreakGlassCannotBeChecked(t *testing.T) {
	opts := testOptions(t)
	opts.BreakGlass = authorizerFunc(func(string) (bool, error) { return true, errors.New("the API server is away") })
	s := newTestServer(t, opts)
	res := review(t, serve(t, s)+ValidatePath, newRequest(t, withReason(t, wildcardEntry, "incident 7")))
	requireGlassCause(t, res, "InternalError", "could not find out whether the user may break the glass: the API server is away")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.breakglass.WithLabelValues(glassError, "false")), 0)
}

func TestReasonMustCount(t *testing.T) {
	withOne := func(reason string) string { return withReason(t, wildcardEntry, reason) }
	narrow := replace(t, wildcardEntry, `"*.example.com"`, `"www.example.com"`)
	kept := "must be new or changed"
	tests := []struct {
		name, object, old string
		cause             string // why it does not help; empty if it does
	}{
		{name: "new", object: withOne("a")},
		{name: "as long as can be", object: withOne(strings.Repeat("ä", maxReasonLength/2))},
		{name: "too long", object: withOne(strings.Repeat("a", maxReasonLength+1)), cause: "may not be more than 1024 bytes"},
		{name: "empty", object: withOne(""), cause: "must be the reason"},
		{name: "blank", object: withOne(" \n"), cause: "must be the reason"},
		{name: "added by an update", object: withOne("a"), old: narrow},
		{name: "changed", object: withOne("b"), old: withReason(t, narrow, "a")},
		{name: "kept", object: withOne("a"), old: withReason(t, narrow, "a"), cause: kept},
		{name: "kept but for blanks", object: withOne("a "), old: withReason(t, narrow, "a"), cause: kept},
		{name: "the old object cannot be read", object: withOne("a"), old: `{"metadata":7}`, cause: kept},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := testOptions(t)
			opts.BreakGlass = unasked(t)
			if tt.cause == "" {
				opts.BreakGlass = authorizerFunc(func(string) (bool, error) { return true, nil })
			}
			req := newRequest(t, tt.object)
			if tt.old != "" {
				update(tt.old)(req)
			}
			res := review(t, serve(t, newTestServer(t, opts))+ValidatePath, req)
			if tt.cause == "" {
				require.True(t, res.Allowed, res.Result)
				return
			}
			require.False(t, res.Allowed)
			require.Contains(t, res.Result.Message, tt.cause)
		})
	}
}

// TestNobodyIsAskedInVain (R10).
func TestNobodyIsAskedInVain(t *testing.T) {
	opts := testOptions(t)
	opts.BreakGlass = unasked(t)
	url := serve(t, newTestServer(t, opts)) + ValidatePath
	res := review(t, url, newRequest(t, withReason(t, cleanEntry, "incident 7")))
	require.True(t, res.Allowed)
	require.Empty(t, res.Warnings)
	require.Len(t, review(t, url, newRequest(t, wildcardEntry)).Result.Details.Causes, 1)
	undecodable := replace(t, withReason(t, cleanEntry, "incident 7"), `"number":443`, `"number":"many"`)
	require.False(t, review(t, url, newRequest(t, undecodable)).Allowed)

	without := serve(t, newTestServer(t, testOptions(t))) + ValidatePath
	res = review(t, without, newRequest(t, withReason(t, wildcardEntry, "incident 7")))
	require.False(t, res.Allowed)
	require.Len(t, res.Result.Details.Causes, 1, "without an Authorizer there is no break-glass to tell of")
}

func TestGlassWarning(t *testing.T) {
	got := glassWarning([]string{"serviceentry/wildcard-host", "serviceentry/public-suffix", "egress/x"}, strings.Repeat("ä", 200))
	require.True(t, strings.HasPrefix(got, "denied by serviceentry/wildcard-host and 2 more, let through by break-glass: ää"), got)
	require.LessOrEqual(t, len(got), maxWarningLength)
}

func by(user string) requestOption {
	return func(r *admissionv1.AdmissionRequest) { r.UserInfo = authenticationv1.UserInfo{Username: user} }
}

func requireGlassCause(t *testing.T, res *admissionv1.AdmissionResponse, kind metav1.CauseType, message string) {
	t.Helper()
	require.False(t, res.Allowed)
	causes := res.Result.Details.Causes
	require.Len(t, causes, 2)
	require.Equal(t, "metadata.annotations[sallyport.dev/break-glass]", causes[1].Field)
	require.Equal(t, kind, causes[1].Type)
	require.Contains(t, causes[1].Message, message)
	require.Contains(t, res.Result.Message, message)
}
