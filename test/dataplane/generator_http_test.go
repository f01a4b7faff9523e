// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1alpha3"
)

func exact(s string) *networking.StringMatch {
	return &networking.StringMatch{MatchType: &networking.StringMatch_Exact{Exact: s}}
}

func prefix(s string) *networking.StringMatch {
	return &networking.StringMatch{MatchType: &networking.StringMatch_Prefix{Prefix: s}}
}

func (g *generator) duration() *durationpb.Duration {
	if g.oneIn(2) {
		return nil
	}
	return durationpb.New(time.Duration(1+g.IntN(20)) * time.Second)
}

func (g *generator) httpRoute(hosts []string, number uint32, index int) *networking.HTTPRoute {
	r := &networking.HTTPRoute{Timeout: g.duration()}
	if g.oneIn(2) {
		r.Name = fmt.Sprintf("r%d", index)
	}
	for range g.IntN(3) {
		r.Match = append(r.Match, g.httpMatch(number))
	}
	switch {
	case g.oneIn(10):
		r.Redirect = &networking.HTTPRedirect{Uri: "/new"}
	case g.oneIn(15):
		r.DirectResponse = &networking.HTTPDirectResponse{Status: 418}
	default:
		g.forward(r, hosts)
	}
	if g.oneIn(8) {
		r.Headers = &networking.Headers{Request: &networking.Headers_HeaderOperations{Set: map[string]string{"x-from": "mesh"}}}
	}
	return r
}

// forward completes a route that leads to destinations.
func (g *generator) forward(r *networking.HTTPRoute, hosts []string) {
	r.Route = []*networking.HTTPRouteDestination{{Destination: g.destination(hosts, false, isPlain)}}
	if g.oneIn(4) {
		r.Route[0].Weight = 80
		r.Route = append(r.Route, &networking.HTTPRouteDestination{Destination: g.destination(hosts, false, isPlain), Weight: 20})
	}
	if g.oneIn(4) {
		r.Retries = g.retries()
	}
	if g.oneIn(6) {
		r.Rewrite = &networking.HTTPRewrite{Uri: "/rewritten"}
	} else if g.oneIn(10) {
		r.Rewrite = &networking.HTTPRewrite{Authority: "alias.example.net"}
	}
	if g.oneIn(12) {
		r.Mirrors = []*networking.HTTPMirrorPolicy{{
			Destination: g.destination(hosts, false, isPlain), Percentage: &networking.Percent{Value: 10},
		}}
	}
	if g.oneIn(12) {
		r.Fault = &networking.HTTPFaultInjection{Abort: &networking.HTTPFaultInjection_Abort{
			ErrorType: &networking.HTTPFaultInjection_Abort_HttpStatus{HttpStatus: 500}, Percentage: &networking.Percent{Value: 5},
		}}
	}
	if g.oneIn(15) {
		r.CorsPolicy = &networking.CorsPolicy{AllowOrigins: []*networking.StringMatch{exact("https://example.com")}}
	}
}

func (g *generator) retries() *networking.HTTPRetry {
	switch g.IntN(3) {
	case 0:
		return &networking.HTTPRetry{}
	case 1:
		return &networking.HTTPRetry{Attempts: 3, RetryOn: "503,reset-before-request"}
	default:
		return &networking.HTTPRetry{
			Attempts: 1, PerTryTimeout: durationpb.New(time.Second), RetryOn: "5xx", RetryRemoteLocalities: wrapperspb.Bool(true),
		}
	}
}

func (g *generator) httpMatch(number uint32) *networking.HTTPMatchRequest {
	m := &networking.HTTPMatchRequest{}
	if !g.oneIn(4) {
		m.Uri = pick(g, prefix("/v1"), prefix("/v2"), exact("/v1/x"), prefix("/old"),
			&networking.StringMatch{MatchType: &networking.StringMatch_Regex{Regex: "/v[12]/.*"}})
		m.IgnoreUriCase = g.oneIn(8)
	}
	if g.oneIn(4) {
		m.Headers = map[string]*networking.StringMatch{"x-beta": exact("1")}
	} else if g.oneIn(8) {
		m.WithoutHeaders = map[string]*networking.StringMatch{"x-beta": {}}
	}
	if g.oneIn(6) {
		m.Method = exact("POST")
	}
	if g.oneIn(10) {
		m.QueryParams = map[string]*networking.StringMatch{"q": exact("1")}
	}
	if g.oneIn(10) {
		m.Authority = prefix("h0.")
	}
	if g.oneIn(6) {
		m.Port = number
		if g.oneIn(15) {
			m.Port = pick(g, uint32(80), uint32(8080))
		}
	}
	if g.oneIn(100) {
		m.SourceLabels = map[string]string{"app": "web"}
	} else if g.oneIn(40) {
		m.Gateways = []string{"mesh"}
	}
	return m
}
