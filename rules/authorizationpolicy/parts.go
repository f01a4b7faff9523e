// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"iter"
	"strings"

	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	allow = security.AuthorizationPolicy_ALLOW
	deny  = security.AuthorizationPolicy_DENY
)

// The keys of conditions that rules ask about
// (istio.io/latest/docs/reference/config/security/conditions).
const (
	keySNI             = "connection.sni"
	keyRemoteIP        = "remote.ip"
	keyDestinationPort = "destination.port"
	prefixSource       = "source."
	prefixRequest      = "request."
	prefixHeader       = "request.headers["
	prefixAuth         = "request.auth."
)

func rulesPath() *field.Path { return field.NewPath("spec", "rules") }

// A list is a field with several values.
type list struct {
	path   *field.Path
	values []string
}

// operations yields the operations of a rule, none of them nil, with their paths.
func operations(path *field.Path, r *security.Rule) iter.Seq2[*field.Path, *security.Operation] {
	return func(yield func(*field.Path, *security.Operation) bool) {
		for i, to := range r.GetTo() {
			if to.GetOperation() != nil && !yield(path.Child("to").Index(i).Child("operation"), to.GetOperation()) {
				return
			}
		}
	}
}

// hostLists yields what a policy says about hosts: the hosts of operations and of
// conditions, those that must match or those that must not.
func hostLists(ap *securityv1.AuthorizationPolicy, not bool) iter.Seq[list] {
	return func(yield func(list) bool) {
		for i, r := range ap.Spec.GetRules() {
			path := rulesPath().Index(i)
			for at, op := range operations(path, r) {
				l := list{at.Child("hosts"), op.GetHosts()}
				if not {
					l = list{at.Child("notHosts"), op.GetNotHosts()}
				}
				if !yield(l) {
					return
				}
			}
			for l := range hostConditions(path, r, not, namesHost) {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// namesHost reports whether a condition with the key is one on the host.
func namesHost(key string) bool { return key == keySNI || isHostHeader(key) }

// isHostHeader reports whether the key is the Host header, which Envoy keeps as
// :authority and finds by both names.
func isHostHeader(key string) bool {
	name, ok := strings.CutPrefix(key, prefixHeader)
	return ok && (strings.EqualFold(name, ":authority]") || strings.EqualFold(name, "host]"))
}

// hostConditions yields the values of the conditions whose key is wanted.
func hostConditions(path *field.Path, r *security.Rule, not bool, wanted func(key string) bool) iter.Seq[list] {
	return func(yield func(list) bool) {
		for i, c := range r.GetWhen() {
			if !wanted(c.GetKey()) {
				continue
			}
			at := path.Child("when").Index(i)
			l := list{at.Child("values"), c.GetValues()}
			if not {
				l = list{at.Child("notValues"), c.GetNotValues()}
			}
			if !yield(l) {
				return
			}
		}
	}
}

// sourceLists yields all fields of the sources of a rule that have values.
func sourceLists(path *field.Path, r *security.Rule) iter.Seq2[string, list] {
	return func(yield func(string, list) bool) {
		for i, from := range r.GetFrom() {
			for name, l := range listsOf(path.Child("from").Index(i).Child("source"), from.GetSource()) {
				if !yield(name, l) {
					return
				}
			}
		}
	}
}

// listsOf yields the fields of a source that have values.
func listsOf(path *field.Path, s *security.Source) iter.Seq2[string, list] {
	return func(yield func(string, list) bool) {
		for _, f := range []struct {
			name   string
			values []string
		}{
			{"principals", s.GetPrincipals()},
			{"notPrincipals", s.GetNotPrincipals()},
			{"requestPrincipals", s.GetRequestPrincipals()},
			{"notRequestPrincipals", s.GetNotRequestPrincipals()},
			{"namespaces", s.GetNamespaces()},
			{"notNamespaces", s.GetNotNamespaces()},
			{"serviceAccounts", s.GetServiceAccounts()},
			{"notServiceAccounts", s.GetNotServiceAccounts()},
			{"trustDomains", s.GetTrustDomains()},
			{"notTrustDomains", s.GetNotTrustDomains()},
			{"ipBlocks", s.GetIpBlocks()},
			{"notIpBlocks", s.GetNotIpBlocks()},
			{"remoteIpBlocks", s.GetRemoteIpBlocks()},
			{"notRemoteIpBlocks", s.GetNotRemoteIpBlocks()},
		} {
			if len(f.values) > 0 && !yield(f.name, list{path.Child(f.name), f.values}) {
				return
			}
		}
	}
}
