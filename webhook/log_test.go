// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// logged returns what a server logs of what send does, at a level of slog.
func logged(t *testing.T, level slog.Level, send func(url string)) []map[string]any {
	t.Helper()
	var log bytes.Buffer
	opts := testOptions(t)
	opts.Log = logr.FromSlogHandler(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))
	opts.BreakGlass = authorizerFunc(func(user string) (bool, error) {
		if user == "carol" {
			return false, errors.New("the API server is away")
		}
		return user == "alice", nil
	})
	send(serve(t, newTestServer(t, opts)))
	var lines []map[string]any
	for line := range bytes.Lines(log.Bytes()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(line, &entry), string(line))
		lines = append(lines, entry)
	}
	return lines
}

// TestDenialIsLogged: a denial is one line, with the rules and where the object is.
func TestDenialIsLogged(t *testing.T) {
	lines := logged(t, slog.LevelInfo, func(url string) {
		review(t, url+ValidatePath, newRequest(t, wildcardEntry))
		review(t, url+ValidatePath, newRequest(t, cleanEntry))
		review(t, url+MutatePath, newRequest(t, bareRoute))
	})
	require.Len(t, lines, 1)
	delete(lines[0], "time")
	require.Equal(t, map[string]any{
		"level": "INFO", "msg": "Denied a request", "rules": []any{"serviceentry/wildcard-host"},
		"requestID": "8f4c2a52-0c9c-4a39-9d0b-0e8f2f1a7c11", "operation": "CREATE",
		"kind": "ServiceEntry", "namespace": "shop", "name": "all", "dryRun": false,
	}, lines[0])
}

// TestLogTellsNoContent: at the default level the log has neither content of objects nor
// users, whatever comes of a request (R29); at the next level it has the user of a broken
// glass.
func TestLogTellsNoContent(t *testing.T) {
	secret := replace(t, withMeta(t, wildcardEntry, `"labels":{"a":"secret"},"annotations":{"b":"secret"}`), "*.example.com", "*.secret.example.com")
	send := func(url string) {
		for _, user := range []string{"alice", "bob", "carol"} {
			for _, object := range []string{secret, replace(t, secret, `"b":"secret"`, `"b":"secret","`+BreakGlassAnnotation+`":"incident 7"`)} {
				review(t, url+ValidatePath, newRequest(t, object, by(user)))
				review(t, url+ValidatePath, newRequest(t, object, by(user), update(wildcardEntry)))
				review(t, url+MutatePath, newRequest(t, object, by(user)))
			}
		}
		review(t, url+ValidatePath, newRequest(t, replace(t, secret, `["*.secret.example.com"]`, `"secret"`), by("alice")))
		for _, body := range []string{`"secret"`, `{"secret":`, `{"kind":"secret"}`} {
			status, _ := post(t, url+ValidatePath, []byte(body))
			require.Equal(t, http.StatusBadRequest, status)
		}
		post(t, url+ValidatePath, encode(t, newRequest(t, secret, by("alice"), func(r *admissionv1.AdmissionRequest) { r.Kind.Kind = "secret" })))
	}
	lines := logged(t, slog.LevelInfo, send)
	var messages []string
	for _, line := range lines {
		messages = append(messages, line["msg"].(string))
		text, err := json.Marshal(line)
		require.NoError(t, err)
		for _, no := range []string{"secret", "alice", "bob", "carol"} {
			require.NotContains(t, string(text), no)
		}
	}
	slices.Sort(messages)
	require.Equal(t, []string{
		"Could not find out whether a user may break the glass", "Denied a request", "Let a denied request through by break-glass",
	}, slices.Compact(messages), "all that is logged was tried")

	index := slices.IndexFunc(logged(t, slog.LevelDebug, send), func(line map[string]any) bool { return line["user"] == "alice" })
	require.GreaterOrEqual(t, index, 0)
}

// TestLogIsBounded: whoever reaches the port cannot fill the log by the size of what is
// sent.
func TestLogIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	lines := logged(t, slog.LevelInfo, func(url string) {
		review(t, url+ValidatePath, newRequest(t, replace(t, wildcardEntry, `"all"`, `"`+long+`"`), func(r *admissionv1.AdmissionRequest) {
			r.UID, r.Name, r.Namespace = "x", long, long
		}))
	})
	require.Len(t, lines, 1)
	text, err := json.Marshal(lines[0])
	require.NoError(t, err)
	require.Less(t, len(text), 1000)
}

// TestLongValuesAreCut: what users are shown has no value of more than 64 characters, in
// whatever field it is (R29).
func TestLongValuesAreCut(t *testing.T) {
	const long = 200
	x := strings.Repeat("x", long)
	s := newTestServer(t, testOptions(t))
	url := serve(t, s)
	objects := map[string]string{
		"host":        replace(t, wildcardEntry, "*.example.com", "*."+x+".example.com"),
		"bare host":   replace(t, wildcardEntry, "*.example.com", x),
		"port name":   replace(t, wildcardEntry, `"name":"https"`, `"name":"`+x+`"`),
		"protocol":    replace(t, wildcardEntry, `"HTTPS"`, `"`+x+`"`),
		"exportTo":    replace(t, wildcardEntry, `["."]`, `["`+x+`"]`),
		"address":     replace(t, wildcardEntry, `"ports"`, `"addresses":["`+x+`"],"ports"`),
		"endpoint":    replace(t, wildcardEntry, `"ports"`, `"resolution":"STATIC","endpoints":[{"address":"`+x+`"}],"ports"`),
		"subject":     replace(t, wildcardEntry, `"ports"`, `"subjectAltNames":["`+x+`"],"ports"`),
		"enum":        replace(t, wildcardEntry, `"ports"`, `"resolution":"`+x+`","ports"`),
		"field":       replace(t, wildcardEntry, `"ports"`, `"`+x+`":1,"ports"`),
		"wrong type":  replace(t, wildcardEntry, `["*.example.com"]`, `"`+x+`"`),
		"number":      replace(t, wildcardEntry, `443`, `"`+x+`"`),
		"route host":  replace(t, bareRoute, `"hosts":["api.example.com"]`, `"hosts":["`+x+`.example.com"]`),
		"destination": replace(t, bareRoute, `"host":"api.example.com"`, `"host":"`+x+`.example.com"`),
		"timeout":     replace(t, bareRoute, `"route"`, `"timeout":"`+x+`","route"`),
		"retryOn":     replace(t, bareRoute, `"route"`, `"retries":{"attempts":2,"retryOn":"`+x+`"},"route"`),
		"gateway":     replace(t, bareRoute, `"http"`, `"gateways":["`+x+`/a"],"http"`),
		"annotation":  withMeta(t, bareRoute, `"annotations":{"sallyport.dev/inject":"`+x+`"}`),
		"break-glass": withReason(t, wildcardEntry, x),
	}
	for name, object := range objects {
		for _, path := range []string{ValidatePath, MutatePath} {
			res := review(t, url+path, newRequest(t, object, by(x)))
			shown := res.Warnings
			if res.Result != nil {
				shown = append(shown, res.Result.Message)
				for _, cause := range causesOf(res) {
					shown = append(shown, cause.Message, cause.Field)
				}
			}
			for _, text := range shown {
				require.NotContains(t, text, strings.Repeat("x", maxValueLength+1), "%s, %s", name, path)
			}
		}
	}
}

func causesOf(res *admissionv1.AdmissionResponse) []metav1.StatusCause {
	if res.Result.Details == nil {
		return nil
	}
	return res.Result.Details.Causes
}
