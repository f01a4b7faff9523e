// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var endpointAlias = &analysis.Rule{
	Name:     "serviceentry/endpoint-alias",
	Severity: analysis.Warning,
	Doc: `endpoints must belong to the host that they stand for

Where a service entry has endpoints, its hosts are labels: requests for
api.example.com go to whatever the endpoints say. That is the first way around
every list of allowed hosts.

The rule warns about an endpoint whose name has another registered domain than
all hosts, as evil.example.org has for api.example.com. Names in the mesh, such
as an egress gateway's Service, and names that the policy allows are fine. Where
the policy denies unlisted hosts, such an endpoint is denied. Where the policy
has addresses.allowed, the addresses of endpoints, and with resolution NONE the
addresses of the service entry, must be among them or in the mesh's clusterCIDRs.

Remove the endpoints to have the host looked up in DNS, or have the endpoint
allowed.`,
	Run: analysis.On(checkEndpointAlias),
}

func checkEndpointAlias(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	var domains map[string]bool
	for i, e := range se.Spec.GetEndpoints() {
		path := endpointsPath.Index(i).Child("address")
		switch _, isAddress := cidr.Parse(e.GetAddress()); {
		case !isAddress:
			if domains == nil {
				domains = domainsOf(se.Spec.GetHosts())
			}
			checkEndpointName(pass, se, path, e, domains)
		case !isApprovedRange(pass, e.GetAddress()):
			pass.ReportAs(analysis.Error, field.Invalid(path, e.GetAddress(), notApproved))
		}
	}
	if se.Spec.GetResolution() != networking.ServiceEntry_NONE {
		return
	}
	for i, a := range se.Spec.GetAddresses() {
		if !isApprovedRange(pass, a) {
			pass.ReportAs(analysis.Error, field.Invalid(addressesPath.Index(i), a, notApproved))
		}
	}
}

const notApproved = "must lie in `addresses.allowed` of the EgressPolicy; use an address from there, or have this one added"

// isApprovedRange reports whether an address or range is approved, or whether
// there is no list of such.
func isApprovedRange(pass *analysis.Pass, address string) bool {
	if len(pass.Policy.AllowedAddresses) == 0 {
		return true
	}
	p, ok := cidr.Parse(address)
	return !ok || cidr.In(pass.Policy.AllowedAddresses, p) || cidr.In(pass.Config.Mesh.ClusterCIDRs, p)
}

// checkEndpointName looks at an endpoint that proxies look up in DNS.
func checkEndpointName(pass *analysis.Pass, se *networkingv1.ServiceEntry, path *field.Path, e *networking.WorkloadEntry, domains map[string]bool) {
	name := host.Normal(e.GetAddress())
	if name == "" || isLocal(name) || host.Internal(name, &pass.Config.Mesh, nil) || isApprovedHost(pass.Policy, name) {
		return
	}
	severity := analysis.Warning
	if pass.Policy.Unlisted == policy.DenyUnlisted {
		severity = analysis.Error
	} else if domains[domainOf(name)] {
		return
	}
	pass.ReportAs(severity, field.Invalid(path, e.GetAddress(), fmt.Sprintf(
		"must belong to the hosts that it stands for (%s); remove the endpoint to have them looked up in DNS, or have its name added to `hosts.allowed` of the EgressPolicy",
		quoted(se.Spec.GetHosts()))))
}

func isApprovedHost(pol *policy.Policy, h string) bool {
	return slices.ContainsFunc(pol.AllowedHosts, func(a policy.AllowedHost) bool { return host.Approves(a.Host, h) })
}

// domainsOf returns what names must share with the hosts.
func domainsOf(hosts []string) map[string]bool {
	domains := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		domains[domainOf(host.Normal(h))] = true
	}
	return domains
}

// domainOf returns the registered domain of a name, or else the name.
func domainOf(name string) string {
	if domain := host.RegisteredDomain(name); domain != "" {
		return domain
	}
	return name
}

// quoted lists hosts as far as a message has room.
func quoted(hosts []string) string {
	switch len(hosts) {
	case 0:
		return "none"
	case 1:
		return "'" + hosts[0] + "'"
	default:
		return fmt.Sprintf("'%s' and %d more", hosts[0], len(hosts)-1)
	}
}
