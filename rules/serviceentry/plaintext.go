// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"strings"
	"sync"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

var plaintext = &analysis.Rule{
	Name:     "serviceentry/plaintext",
	Severity: analysis.Warning,
	Doc: `the protocol must fit what the port speaks

A port 443 whose protocol is HTTP makes the proxy send requests in the clear to a
port that expects TLS, and breaks clients that speak TLS themselves; unless a
DestinationRule lets the proxy originate TLS. A port 80 whose protocol is HTTPS or
TLS, without a targetPort, waits for a handshake that clients do not send. The
rule warns about both.

That an external host is reached in the clear at all, on any port with HTTP, is
reported only where a policy gives this rule an action.

The rule looks for a DestinationRule where Istio does, as seen from the service
entry's namespace and from those of the egress gateways. A port without a protocol
is not judged: the proxy tells TLS from HTTP by itself.

Use protocol TLS for 443, or 'targetPort: 443' on port 80 and a DestinationRule
with tls.mode SIMPLE.`,
	Reads: []*analysis.Kind{analysis.DestinationRule},
	Run:   analysis.On(checkPlaintext),
}

func checkPlaintext(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	path := portsPath
	rules := sync.OnceValue(func() []*networkingv1.DestinationRule { return destinationRules(pass, se) })
	leads := sync.OnceValue(func() reach { return egress(pass.Config, se) })
	for i, p := range se.Spec.GetPorts() {
		protocol := port.Parse(p.GetProtocol())
		switch number, target := p.GetNumber(), p.GetTargetPort(); {
		case protocol.TLSLike() && number == 80 && target == 0:
			pass.Report(field.Invalid(path.Index(i).Child("protocol"), p.GetProtocol(),
				"should be 'HTTP' on port 80, or the port 443: no client begins a handshake there"))
		case !protocol.HTTPLike() || origination(rules(), number) != nil:
		case number == 443 && (target == 0 || target == 443):
			reportPlaintext(pass, analysis.Warning, field.Invalid(path.Index(i).Child("protocol"), p.GetProtocol(),
				"should be 'TLS' on port 443, else requests leave in the clear; for TLS origination use port 80 with `targetPort: 443` and a DestinationRule with `tls.mode: SIMPLE`"))
		case leads() == outside:
			reportPlaintext(pass, analysis.Off, field.Invalid(path.Index(i), fmt.Sprintf("%d/%s", number, protocol),
				"must not leave the mesh in the clear; use protocol 'TLS', or a DestinationRule with `tls.mode: SIMPLE` for this port"))
		}
	}
}

// reportPlaintext reports what a DestinationRule would mend, if all are known.
func reportPlaintext(pass *analysis.Pass, severity analysis.Severity, err *field.Error) {
	switch {
	case pass.Mesh.Complete(analysis.DestinationRule):
		pass.ReportAs(severity, err)
	case severity != analysis.Off || names(pass.Policy, pass.Rule):
		pass.NotEvaluated("not all DestinationRules are known, of which one may originate TLS")
	}
}

// destinationRules returns what proxies that lead to the hosts apply to them, each
// once.
func destinationRules(pass *analysis.Pass, se *networkingv1.ServiceEntry) []*networkingv1.DestinationRule {
	namespaces := []string{se.GetNamespace()}
	for _, g := range pass.Config.Mesh.EgressGateways {
		namespace, _, _ := strings.Cut(g.Gateway, "/")
		namespaces = append(namespaces, namespace)
	}
	var rules []*networkingv1.DestinationRule
	seen := map[*networkingv1.DestinationRule]bool{nil: true}
	for _, written := range se.Spec.GetHosts() {
		h := host.Normal(written)
		for _, namespace := range namespaces {
			if dr := pass.Mesh.DestinationRule(namespace, h, se.GetNamespace()); !seen[dr] {
				seen[dr] = true
				rules = append(rules, dr)
			}
		}
	}
	return rules
}

// origination returns the settings with which proxies speak TLS with a port by one
// of the DestinationRules, or nil.
func origination(rules []*networkingv1.DestinationRule, number uint32) *networking.ClientTLSSettings {
	for _, dr := range rules {
		if tls := tlsSettings(dr, number); tls != nil && tls.GetMode() != networking.ClientTLSSettings_DISABLE {
			return tls
		}
	}
	return nil
}

// tlsSettings returns those for a port. If there are any settings for the port
// they replace the general ones whole (istio.io/api v1.31,
// TrafficPolicy.port_level_settings).
func tlsSettings(dr *networkingv1.DestinationRule, number uint32) *networking.ClientTLSSettings {
	for _, p := range dr.Spec.GetTrafficPolicy().GetPortLevelSettings() {
		if p.GetPort().GetNumber() == number {
			return p.GetTls()
		}
	}
	return dr.Spec.GetTrafficPolicy().GetTls()
}
