// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var allowedHost = &analysis.Rule{
	Name:     "serviceentry/allowed-host",
	Severity: analysis.Off,
	Doc: `hosts must be on the policy's list

Where a policy says hosts.unlisted: Deny, a service entry that leads out of the
mesh may have only hosts that hosts.allowed approves: the name itself, or what
lies below an allowed wildcard, on the ports that are named with it. The names of
endpoints count like hosts, since they are where requests go. Whatever a policy
lists in hosts.denied is denied in any case, and so is a wildcard that covers such
a host, wherever the service entry leads. Other hosts inside the mesh are not judged.

Without such a list the rule is off.

Ask the platform team to add the host to hosts.allowed of the EgressPolicy of the
namespace.`,
	Run: analysis.On(checkAllowedHost),
}

func checkAllowedHost(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if pass.Policy.Unlisted != policy.DenyUnlisted && len(pass.Policy.DeniedHosts) == 0 && !names(pass.Policy, pass.Rule) {
		return
	}
	leads := egress(pass.Config, se)
	if leads == unclear {
		pass.NotEvaluated(unclearReason)
	}
	if leads != outside && len(pass.Policy.DeniedHosts) == 0 {
		return
	}
	a := &allowList{pass: pass, entry: se}
	for i, h := range se.Spec.GetHosts() {
		a.check(hostsPath.Index(i), h)
	}
	for i, e := range se.Spec.GetEndpoints() {
		address := e.GetAddress()
		if _, isAddress := cidr.Parse(address); address != "" && !isAddress && !strings.HasPrefix(address, "unix:") {
			a.check(endpointsPath.Index(i).Child("address"), address)
		}
	}
}

// names reports whether the policy sets the rule's action.
func names(pol *policy.Policy, r *analysis.Rule) bool {
	_, ok := pol.Rules[r.Name]
	return ok
}

type allowList struct {
	pass  *analysis.Pass
	entry *networkingv1.ServiceEntry
	open  []openPort
}

func (a *allowList) check(path *field.Path, written string) {
	h := host.Normal(written)
	pol := a.pass.Policy
	for _, denied := range pol.DeniedHosts {
		if host.Overlaps(denied, h) {
			a.pass.ReportAs(analysis.Error, field.Invalid(path, written, fmt.Sprintf(
				"must not overlap with '%s', which the EgressPolicy denies; remove it", denied)))
			return
		}
	}
	if host.Internal(h, &a.pass.Config.Mesh, nil) {
		return
	}
	var approvals []policy.AllowedHost
	for _, allowed := range pol.AllowedHosts {
		if host.Approves(allowed.Host, h) {
			approvals = append(approvals, allowed)
		}
	}
	severity := a.pass.Rule.Severity
	if pol.Unlisted == policy.DenyUnlisted {
		severity = analysis.Error
	}
	switch {
	case len(approvals) == 0:
		a.pass.ReportAs(severity, field.Invalid(path, written, fmt.Sprintf(
			"must be on the list of hosts for namespace '%s'; have it added to `hosts.allowed` of its EgressPolicy%s", a.entry.GetNamespace(), from(pol))))
	case host.IsWildcard(h): // its ports are judged by serviceentry/wildcard-host
	case !slices.ContainsFunc(approvals, func(allowed policy.AllowedHost) bool { return len(allowed.Ports) == 0 }):
		if a.open == nil {
			a.open = ports(a.entry)
		}
		checkApprovedPorts(a.pass, severity, written, a.open, approvals)
	}
}

// from names the policies that a list comes from.
func from(pol *policy.Policy) string {
	if len(pol.Sources) == 0 {
		return ""
	}
	return " ('" + strings.Join(pol.Sources, "', '") + "')"
}
