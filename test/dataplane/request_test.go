// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// A request is what Envoy's routes look at.
type request struct {
	path, authority, method string
	query                   url.Values
	headers                 http.Header
}

// matches reports whether Envoy takes a route for the request.
func (r *request) matches(m *route.RouteMatch) bool {
	if !r.matchesPath(m) {
		return false
	}
	for _, h := range m.GetHeaders() {
		if !r.matchesHeader(h) {
			return false
		}
	}
	for _, q := range m.GetQueryParameters() {
		values, ok := r.query[q.GetName()]
		if !ok || (q.GetStringMatch() != nil && !matchesString(q.GetStringMatch(), values[0])) {
			return false
		}
	}
	return true
}

func (r *request) matchesPath(m *route.RouteMatch) bool {
	path := r.path
	if path == "" {
		path = "/"
	}
	fold := func(s string) string { return s }
	if m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue() {
		fold = strings.ToLower
	}
	path = fold(path)
	switch p := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return strings.HasPrefix(path, fold(p.Prefix))
	case *route.RouteMatch_PathSeparatedPrefix:
		prefix := fold(p.PathSeparatedPrefix)
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	case *route.RouteMatch_Path:
		return path == fold(p.Path)
	case *route.RouteMatch_SafeRegex:
		return matchesRegex(p.SafeRegex.GetRegex(), path)
	default:
		return false
	}
}

func (r *request) matchesHeader(m *route.HeaderMatcher) bool {
	var value string
	ok := true
	switch name := m.GetName(); name {
	case ":method":
		value = r.method
	case ":authority":
		value = r.authority
	case ":scheme":
		value = "http"
	default:
		value, ok = r.headers.Get(name), len(r.headers.Values(name)) > 0
	}
	ok = ok || m.GetTreatMissingHeaderAsEmpty()
	switch s := m.GetHeaderMatchSpecifier().(type) {
	case *route.HeaderMatcher_PresentMatch:
		ok = ok == s.PresentMatch
	case *route.HeaderMatcher_StringMatch:
		ok = ok && matchesString(s.StringMatch, value)
	}
	return ok != m.GetInvertMatch()
}

func matchesString(m *matcher.StringMatcher, value string) bool {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	value = fold(value)
	switch p := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return value == fold(p.Exact)
	case *matcher.StringMatcher_Prefix:
		return strings.HasPrefix(value, fold(p.Prefix))
	case *matcher.StringMatcher_Suffix:
		return strings.HasSuffix(value, fold(p.Suffix))
	case *matcher.StringMatcher_Contains:
		return strings.Contains(value, fold(p.Contains))
	case *matcher.StringMatcher_SafeRegex:
		return matchesRegex(p.SafeRegex.GetRegex(), value)
	default:
		return false
	}
}

func matchesRegex(pattern, value string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(value)
}
