// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A Grant is a rule that the server's service account needs, and what for.
type Grant struct {
	// Namespaced says that it is needed in the server's namespace only.
	Namespaced bool
	Rule       rbacv1.PolicyRule
	// Without says what does not work without it.
	Without string
}

// Grants returns what the server needs, and nothing else, where certificates are of the
// mode, and the webhook configurations and the Secret have these names.
func Grants(mode certs.Mode, configurations, secret string) []Grant {
	read := []string{"list", "watch"}
	grants := []Grant{
		{Rule: rule(v1alpha1.GroupVersion.Group, read, "egresspolicies", "egressexemptions"), Without: "no policy is known and the server does not get ready"},
		{Rule: rule(v1alpha1.GroupVersion.Group, []string{"patch"}, "egresspolicies/status", "egressexemptions/status"), Without: "kubectl does not show what became of policies"},
		{Rule: rule("authorization.k8s.io", []string{"create"}, "subjectaccessreviews"), Without: "nobody can break the glass or read metrics"},
		{Rule: rule("authentication.k8s.io", []string{"create"}, "tokenreviews"), Without: "nobody can read metrics"},
		{Rule: rule("", []string{"create", "patch"}, "events"), Without: "no events tell of policies, certificates and drift"},
		{
			Rule:    named(rule("admissionregistration.k8s.io", []string{"get", "list", "watch", "patch"}, "validatingwebhookconfigurations", "mutatingwebhookconfigurations"), configurations),
			Without: "the API server does not get the CA and refuses to call",
		},
		{
			Rule:    named(rule("admissionregistration.k8s.io", []string{"get"}, "validatingadmissionpolicies", "validatingadmissionpolicybindings"), "sallyport-break-glass-outage"),
			Without: "drift of the break-glass policy is not noticed",
		},
		{Namespaced: true, Rule: rule("coordination.k8s.io", []string{"create", "patch", "list", "delete"}, "leases"), Without: "doctor does not see the replicas"},
	}
	for _, kind := range rules.Reads() {
		grants = append(grants, Grant{Rule: rule(kind.Group, read, kind.Resource), Without: "the mesh is not known and the server does not get ready"})
	}
	return append(grants, certificateGrants(mode, secret)...)
}

// certificateGrants are those of package certs' documentation.
func certificateGrants(mode certs.Mode, secret string) []Grant {
	const without = "there is no certificate"
	switch mode {
	case certs.ModeFiles:
		return nil
	case certs.ModeCertManager:
		const group = "cert-manager.io"
		requests := named(rule(group, []string{"get", "patch"}, "issuers", "certificates"), secret)
		requests.ResourceNames = []string{secret, secret + "-ca", secret + "-selfsigned"}
		return []Grant{
			{Namespaced: true, Rule: named(rule("", []string{"list", "watch"}, "secrets"), secret), Without: without},
			{Namespaced: true, Rule: requests, Without: "cert-manager is not asked for a certificate"},
			{Namespaced: true, Rule: rule(group, []string{"create"}, "issuers", "certificates"), Without: "cert-manager is not asked for a certificate"},
		}
	default:
		return []Grant{
			{Namespaced: true, Rule: named(rule("", []string{"get", "list", "watch", "update"}, "secrets"), secret), Without: without},
			{Namespaced: true, Rule: rule("", []string{"create"}, "secrets"), Without: "the first certificate cannot be stored"},
		}
	}
}

func rule(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

func named(r rbacv1.PolicyRule, name string) rbacv1.PolicyRule {
	r.ResourceNames = []string{name}
	return r
}

// permissions asks the API server whether the server may do what it needs.
func permissions(ctx context.Context, opts *Options) *Section {
	s := &Section{Name: "Permissions"}
	user := "system:serviceaccount:" + opts.Namespace + ":" + opts.ServiceAccount
	for _, grant := range Grants(opts.Mode, opts.Configurations, opts.Secret) {
		denied, err := deniedOf(ctx, opts, user, &grant)
		if s.missed(err) {
			return s
		}
		if len(denied) > 0 {
			s.problem(fmt.Sprintf("service account %s/%s may not %s: %s; apply the installation's RBAC again",
				opts.Namespace, opts.ServiceAccount, strings.Join(denied, ", "), grant.Without))
		}
	}
	if len(s.Problems) == 0 {
		s.fact(fmt.Sprintf("service account %s/%s may do what it needs", opts.Namespace, opts.ServiceAccount))
	}
	return s
}

func deniedOf(ctx context.Context, opts *Options, user string, grant *Grant) (denied []string, err error) {
	for _, asked := range questions(opts, grant) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, Groups: []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + opts.Namespace},
			ResourceAttributes: &asked,
		}}
		answer, err := opts.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask for the permissions of %s: %w", user, err)
		}
		if !answer.Status.Allowed {
			denied = append(denied, describe(&asked, grant))
		}
	}
	return denied, nil
}

// questions returns everything that the grant allows.
func questions(opts *Options, grant *Grant) []authorizationv1.ResourceAttributes {
	names := grant.Rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var all []authorizationv1.ResourceAttributes
	for _, name := range names {
		for _, resource := range grant.Rule.Resources {
			for _, verb := range grant.Rule.Verbs {
				a := authorizationv1.ResourceAttributes{Group: grant.Rule.APIGroups[0], Verb: verb, Name: name}
				a.Resource, a.Subresource, _ = strings.Cut(resource, "/")
				if grant.Namespaced {
					a.Namespace = opts.Namespace
				}
				all = append(all, a)
			}
		}
	}
	return all
}

// describe names the object only where the grant is for several.
func describe(asked *authorizationv1.ResourceAttributes, grant *Grant) string {
	text := asked.Verb + " " + asked.Resource
	if asked.Subresource != "" {
		text += "/" + asked.Subresource
	}
	if len(grant.Rule.ResourceNames) > 1 {
		text += " " + asked.Name
	}
	return text
}
