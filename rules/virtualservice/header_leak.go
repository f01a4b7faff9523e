// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
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

The rule looks at the request headers that routes to external hosts and to egress
gateways set or add, for the route or for one destination. Denied are the operators
DOWNSTREAM_PEER_…, those of the proxy's own certificate, ENVIRONMENT, FILTER_STATE,
DYNAMIC_METADATA, METADATA, CEL, FILE_CONTENT and SECRET, and those that copy a
request header that holds credentials (authorization, cookie,
x-forwarded-client-cert, x-api-key and the like). '%%' is no operator. A
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
		if !leadsOut(pass, vs, r) && !leadsToGateway(pass, vs, r) {
			continue
		}
		path := httpPath.Index(i)
		checkHeaders(pass, path.Child("headers"), r.GetHeaders())
		for j, d := range r.GetRoute() {
			_, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), d.GetDestination())
			if external || gatewayByService(pass.Config, vs.GetNamespace(), d.GetDestination()) != nil {
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
	for _, m := range operator.FindAllStringSubmatch(value, -1) {
		static = static && m[1] == ""
		if leak := leaks(m[1], m[2]); leak != "" {
			pass.Report(field.Invalid(path, m[0], fmt.Sprintf(
				"must not carry %s to an external host; remove the header", leak)))
		}
	}
	if static && value != "" && slices.Contains(credentials, strings.ToLower(name)) {
		pass.ReportAs(analysis.Warning, field.Invalid(path, name,
			"should not have a fixed value, which everybody can read here; let the application set the header, from a Secret"))
	}
}

// operator matches a substitution operator in a header's value, with its argument
// and length, or an escaped percent sign (Envoy v1.39,
// source/common/formatter/substitution_formatter.cc).
var operator = regexp.MustCompile(`%%|%([A-Z0-9_]+)(\([^)]*\))?(:[0-9]+)?%`)

// leaks says what secret an operator stands for, if it does.
func leaks(name, argument string) string {
	switch name {
	case "ENVIRONMENT":
		return "the proxy's environment"
	case "FILTER_STATE", "DYNAMIC_METADATA", "METADATA", "CEL", "FILE_CONTENT", "SECRET":
		return "the proxy's own data"
	case "REQ", "REQ_WITHOUT_QUERY", "REQUEST_HEADER", "COALESCE":
		words := strings.FieldsFunc(strings.ToLower(argument), func(r rune) bool { return strings.ContainsRune("()?\"' :,{}[]", r) })
		if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(credentials, w) }) {
			return "the credentials of the caller"
		}
	}
	isCertificate := strings.Contains(name, "_SAN") || strings.Contains(name, "SUBJECT")
	if strings.HasPrefix(name, "DOWNSTREAM_PEER_") || strings.HasPrefix(name, "DOWNSTREAM_LOCAL_") && isCertificate {
		return "the certificate or identity of a workload"
	}
	return ""
}
