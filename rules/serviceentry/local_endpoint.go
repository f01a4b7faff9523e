// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"net/netip"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var localEndpoint = &analysis.Rule{
	Name:     "serviceentry/local-endpoint",
	Severity: analysis.Error,
	Doc: `endpoints must not be in the proxy's own pod

A loopback address or a Unix socket leads to the pod of whichever proxy uses the
service entry: that of every client, or that of the egress gateway. There listen
Envoy's administration interface (port 15000), the agent (15020) and containers
that expect nobody but their own pod.

The rule looks at the addresses of endpoints, and at hosts that proxies resolve
(resolution DNS without endpoints): 127.0.0.0/8, 0.0.0.0/8, ::1, ::, localhost
and the names that hosts files give it, and unix: sockets.

Name the destination's own address or host. Where a proxy container beside the
egress gateway is needed, as for arbitrary wildcards by server name, the platform
team declares it in a platform namespace, where this rule only warns.`,
	Run: analysis.On(checkLocalEndpoint),
}

func checkLocalEndpoint(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	severity := analysis.Error
	if pass.Config.IsPlatform(se.GetNamespace()) {
		severity = analysis.Warning
	}
	const detail = "must not be in the proxy's own pod, where its administration interface and agents listen; name the destination's own address or host"
	for i, e := range se.Spec.GetEndpoints() {
		if isLocal(e.GetAddress()) {
			pass.ReportAs(severity, field.Invalid(endpointsPath.Index(i).Child("address"), e.GetAddress(), detail))
		}
	}
	if !resolvesHosts(se) {
		return
	}
	for i, h := range se.Spec.GetHosts() {
		if isLocal(h) {
			pass.ReportAs(severity, field.Invalid(hostsPath.Index(i), h, detail))
		}
	}
}

// resolvesHosts reports whether proxies look the hosts up in DNS.
func resolvesHosts(se *networkingv1.ServiceEntry) bool {
	switch se.Spec.GetResolution() {
	case networking.ServiceEntry_DNS, networking.ServiceEntry_DNS_ROUND_ROBIN:
		return len(se.Spec.GetEndpoints()) == 0
	case networking.ServiceEntry_DYNAMIC_DNS:
		return true
	default:
		return false
	}
}

// thisHost are the addresses that mean the machine itself (RFC 1122, 3.2.1.3).
var thisHost = netip.MustParsePrefix("0.0.0.0/8")

var localNames = []string{"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}

func isLocal(address string) bool {
	if len(address) >= len("unix:") && strings.EqualFold(address[:len("unix:")], "unix:") {
		return true
	}
	h := host.Normal(host.TrimPort(address))
	if a, ok := cidr.ParseAddr(h); ok {
		return a.IsLoopback() || a.IsUnspecified() || thisHost.Contains(a)
	}
	return slices.Contains(localNames, h) || host.Below("localhost", h) || host.Below("localdomain", h)
}
