// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var wildcardHost = &analysis.Rule{
	Name:     "serviceentry/wildcard-host",
	Severity: analysis.Error,
	Doc: `service entries must name the hosts they open

A wildcard host opens every name that matches, also those that nobody has
reviewed and those that do not exist yet. With resolution NONE it is no limit
at all: the proxy believes the Host header or the server name that the client
sends, and forwards to whatever address the client has chosen.

List the hosts one by one. Where a wildcard is needed, the platform team adds
it to hosts.allowed of an EgressPolicy. An allowed "*.example.org" approves
exactly that wildcard and what lies below it, as "*.api.example.org", on the
ports that it names. It counts only if it has at least limits.minWildcardLabels
labels after "*.", two unless the policy says otherwise.

Istio takes whatever starts with '*' for a wildcard. A partial one such as
"*foo.com" also matches "evilfoo.com", and no policy can allow it.

Service entries that stay inside the mesh are not judged: location
MESH_INTERNAL, and every host and address bears it out.`,
	Run: analysis.On(checkWildcardHost),
}

func checkWildcardHost(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if !slices.ContainsFunc(se.Spec.GetHosts(), isWildcard) {
		return
	}
	switch egress(pass.Config, se) {
	case inside:
		return
	case unclear:
		pass.NotEvaluated(unclearReason)
		return
	case outside:
	}
	var open []openPort
	for i, h := range se.Spec.GetHosts() {
		if !isWildcard(h) {
			continue
		}
		approvals, problem := approvalsOf(pass.Policy, host.Normal(h))
		switch {
		case problem != "":
			pass.Report(field.Invalid(hostsPath.Index(i), h, problem))
		case !slices.ContainsFunc(approvals, func(a policy.AllowedHost) bool { return len(a.Ports) == 0 }):
			if open == nil {
				open = ports(se)
			}
			checkApprovedPorts(pass, pass.Rule.Severity, h, open, approvals)
		}
	}
}

func isWildcard(h string) bool { return host.IsWildcard(host.Normal(h)) }

// approvalsOf returns what the policy says in favour of a wildcard or, if that
// is nothing, the problem with it.
func approvalsOf(pol *policy.Policy, wildcard string) (approvals []policy.AllowedHost, problem string) {
	if host.IsPartial(wildcard) {
		return nil, "must not be a partial wildcard ('*foo.com' also matches 'evilfoo.com'); list the hosts one by one, or use a '*.' wildcard that the policy allows"
	}
	broad := ""
	for _, a := range pol.AllowedHosts {
		switch {
		case !host.Approves(a.Host, wildcard):
		case host.Labels(a.Host) < pol.Limits.MinWildcardLabels:
			broad = a.Host
		default:
			approvals = append(approvals, a)
		}
	}
	switch {
	case len(approvals) > 0:
		return approvals, ""
	case broad != "":
		return nil, fmt.Sprintf("must not be a wildcard: the policy's '%s' has fewer than %d labels and does not count; list the hosts one by one, or have a narrower one allowed",
			broad, pol.Limits.MinWildcardLabels)
	case host.PublicSuffix(wildcard) != "":
		return nil, "must not be a wildcard, which opens hosts nobody has reviewed; list the hosts one by one"
	default:
		return nil, "must not be a wildcard, which opens hosts nobody has reviewed; list the hosts one by one, or have this wildcard added to `hosts.allowed` of the EgressPolicy"
	}
}

// maxPortFindings bounds the findings about one host, lest a large object
// with many of both has millions.
const maxPortFindings = 16

// checkApprovedPorts reports the open ports on which nothing approves the host.
func checkApprovedPorts(pass *analysis.Pass, severity analysis.Severity, h string, open []openPort, approvals []policy.AllowedHost) {
	findings := 0
	for _, p := range open {
		if slices.ContainsFunc(approvals, func(a policy.AllowedHost) bool { return slices.Contains(a.Ports, p.number) }) {
			continue
		}
		detail := "must not be open for this host, which the policy allows on other ports only; remove the port, or have it added to the host in `hosts.allowed` of the EgressPolicy"
		if host.IsWildcard(h) {
			detail = "must not be open for this wildcard, which the policy allows on other ports only; remove the port, or list the hosts that need it one by one"
		}
		pass.ReportAs(severity, field.Invalid(p.path, fmt.Sprintf("%s:%d", h, p.number), detail))
		if findings++; findings == maxPortFindings {
			return
		}
	}
}
