// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var headerLeak = &analysis.Rule{
	Name:     "virtualservice/header-leak",
	Severity: analysis.Error,
	Doc: `headers must not carry secrets to the outside

A route can add headers to requests that leave the mesh, and their values may have
Envoy's substitution operators: %DOWNSTREAM_PEER_URI_SAN% is the caller's identity,
%ENVIRONMENT(X)% a variable of the proxy, and %REQ(authorization)% copies the
caller's credentials into a header that nobody filters.

The rule looks at the request headers that routes to external hosts set or add, for
the route or for one destination. Denied are the operators DOWNSTREAM_PEER_…,
DOWNSTREAM_LOCAL_…, ENVIRONMENT, FILTER_STATE, DYNAMIC_METADATA, METADATA and CEL,
and those that copy a request header that holds credentials (authorization,
cookie, x-forwarded-client-cert, x-api-key and the like). '%%' is no operator. A
fixed value for such a header is warned about: it puts a secret into an object that
many can read.

Leave the header to the application, which can take the secret from a Secret.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkHeaderLeak),
}

// credentials are request headers that prove who the caller is.
var credentials = []string{
	"authorization", "proxy-authorization", "cookie", "x-forwarded-client-cert", "x-api-key", "api-key", "x-auth-token", "x-access-token",
	"x-amz-security-token", "x-goog-iam-authorization-token", "x-vault-token", "x-csrf-token",
}

func checkHeaderLeak(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		if !leadsOut(pass, vs, r) {
			continue
		}
		path := httpPath.Index(i)
		checkHeaders(pass, path.Child("headers"), r.GetHeaders())
		for j, d := range r.GetRoute() {
			if _, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), d.GetDestination()); external {
				checkHeaders(pass, path.Child("route").Index(j).Child("headers"), d.GetHeaders())
			}
		}
	}
}

func checkHeaders(pass *analysis.Pass, path *field.Path, headers *networking.Headers) {
	for h := range requestHeaders(path, headers) {
		checkHeader(pass, h.path, h.name, h.value)
	}
}

// A requestHeader is one that a route gives to requests.
type requestHeader struct {
	path        *field.Path
	name, value string
}

// requestHeaders yields what is set and added, each by name.
func requestHeaders(path *field.Path, headers *networking.Headers) iter.Seq[requestHeader] {
	return func(yield func(requestHeader) bool) {
		request := headers.GetRequest()
		for i, values := range []map[string]string{request.GetSet(), request.GetAdd()} {
			part := []string{"set", "add"}[i]
			for _, name := range slices.Sorted(maps.Keys(values)) {
				if !yield(requestHeader{path.Child("request", part).Key(name), name, values[name]}) {
					return
				}
			}
		}
	}
}

// checkHeader reports the operator or the header's name, never the value, which
// may be a secret.
func checkHeader(pass *analysis.Pass, path *field.Path, name, value string) {
	static := true
	for operator, argument := range operators(value) {
		static = false
		if leak := leaks(operator, argument); leak != "" {
			pass.Report(field.Invalid(path, "%"+operator+argument+"%", fmt.Sprintf(
				"must not carry %s to an external host; remove the header", leak)))
		}
	}
	if static && value != "" && slices.Contains(credentials, strings.ToLower(name)) {
		pass.ReportAs(analysis.Warning, field.Invalid(path, name,
			"should not have a fixed value, which everybody can read here; let the application set the header, from a Secret"))
	}
}

// operators yields the substitution operators in a header's value, with their
// arguments in parentheses and what follows (Envoy, substitution formatter).
func operators(value string) iter.Seq2[string, string] {
	return func(yield func(operator, argument string) bool) {
		for {
			_, rest, ok := strings.Cut(value, "%")
			if !ok {
				return
			}
			operator, rest, ok := strings.Cut(rest, "%")
			value = rest
			if !ok {
				return
			}
			if operator == "" {
				continue // an escaped percent sign
			}
			end := strings.IndexAny(operator, "(:")
			if end < 0 {
				end = len(operator)
			}
			if !yield(operator[:end], operator[end:]) {
				return
			}
		}
	}
}

// leaks says what secret an operator stands for, if it does.
func leaks(operator, argument string) string {
	switch {
	case strings.HasPrefix(operator, "DOWNSTREAM_PEER_"), strings.HasPrefix(operator, "DOWNSTREAM_LOCAL_"):
		return "the certificate or identity of a workload"
	case operator == "ENVIRONMENT":
		return "the proxy's environment"
	case slices.Contains([]string{"FILTER_STATE", "DYNAMIC_METADATA", "METADATA", "CEL"}, operator):
		return "the proxy's own data"
	case operator == "REQ", operator == "REQ_WITHOUT_QUERY":
		inside, _, _ := strings.Cut(strings.TrimPrefix(argument, "("), ")")
		for header := range strings.SplitSeq(inside, "?") {
			if slices.Contains(credentials, strings.ToLower(strings.TrimSpace(header))) {
				return "the credentials of the caller"
			}
		}
	}
	return ""
}
