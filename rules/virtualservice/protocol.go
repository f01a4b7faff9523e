// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
)

var protocol = &analysis.Rule{
	Name:     "virtualservice/protocol",
	Severity: analysis.Warning,
	Doc: `routes must be of the protocol that their hosts speak

Sidecars apply http routes on ports with HTTP, tls routes on ports with TLS or
HTTPS, which they do not decrypt, and tcp routes on all others. Other routes are
accepted and ignored: requests go where they went before, and the timeout, the
retries and the headers that somebody counts on are not there.

The rule looks at routes that only sidecars use, and at the ports that the
ServiceEntries of the VirtualService's hosts have. It warns of a route if no port
of any host can take it, of those that its matches ask for. A port without a
protocol takes http and tcp routes. Nothing is said where a host is inside the
mesh, a wildcard or without a ServiceEntry, nor of routes for gateways, whose
servers have protocols of their own.

Of faults that a route injects, neither its timeout nor its retries know: a
delay is over before the timeout begins, and what a fault aborts is not tried
again. The rule warns of a timeout beside a delay and of retries beside an
abort, unless they are as the policy fills them in. Timeouts and retries hold
for requests without a fault, whatever Istio's documentation says, and headers
are not reported either.

Use the kind of route that fits, or TLS origination where requests are to be
routed as HTTP. To test timeouts and retries, inject faults where the requests
arrive.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkProtocol),
}

func checkProtocol(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	for i, r := range vs.Spec.GetHttp() {
		checkFault(pass, httpPath.Index(i), r)
	}
	if !route.AppliesToMesh(vs) {
		return
	}
	ports, ok := portsOfHosts(pass, vs)
	if !ok {
		return
	}
	check := protocolCheck{pass: pass, vs: vs, ports: ports}
	for i, r := range vs.Spec.GetHttp() {
		checkRoute(&check, httpPath.Index(i), r.GetMatch(), takesHTTP,
			"must not be an http route, which sidecars ignore on ports without HTTP, with its timeout, retries and headers; use a `tls` or `tcp` route, or TLS origination")
	}
	for i, r := range vs.Spec.GetTls() {
		checkRoute(&check, specPath.Child("tls").Index(i), r.GetMatch(), port.Protocol.TLSLike,
			"must not be a tls route, which sidecars ignore on ports without TLS or HTTPS; use an `http` or `tcp` route, or correct the protocol in the ServiceEntry")
	}
	for i, r := range vs.Spec.GetTcp() {
		checkRoute(&check, specPath.Child("tcp").Index(i), r.GetMatch(), port.Protocol.TCPLike,
			"must not be a tcp route, which sidecars ignore on ports with HTTP or TLS; use an `http` or `tls` route, or correct the protocol in the ServiceEntry")
	}
}

type protocolCheck struct {
	pass  *analysis.Pass
	vs    *networkingv1.VirtualService
	ports []spokenPort
}

type spokenPort struct {
	number   uint32
	protocol port.Protocol
}

func (p spokenPort) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

// checkRoute reports a route of sidecars if no port takes it. (istio.io/istio
// v1.31, pilot/pkg/networking/core/tls.go and httproute.go.)
func checkRoute[M portMatch](c *protocolCheck, path *field.Path, matches []M, takes func(port.Protocol) bool, detail string) {
	if gateways := route.Gateways(c.vs, gatewaysOf(matches)); len(gateways) != 1 || gateways[0] != route.Mesh {
		return
	}
	ports := portsOfMatches(matches)
	var others []string
	for _, p := range c.ports {
		if !ports.has(p.number) {
			continue
		}
		if takes(p.protocol) {
			return
		}
		others = append(others, p.String())
	}
	if len(others) > 0 {
		c.pass.Report(field.Invalid(path, strings.Join(others, ","), detail))
	}
}

func takesHTTP(p port.Protocol) bool { return p.HTTPLike() || p == port.Sniffed }

// maxPorts bounds the ports that all routes are compared with.
const maxPorts = 64

// portsOfHosts returns the ports of all hosts on which sidecars listen; ok is false
// if those of one of them are not known.
func portsOfHosts(pass *analysis.Pass, vs *networkingv1.VirtualService) (ports []spokenPort, ok bool) {
	mesh := &pass.Config.Mesh
	missing := false
	for _, h := range vs.Spec.GetHosts() {
		h = host.Expand(h, vs.GetNamespace(), mesh.ClusterDomain)
		if h == "" || host.IsWildcard(h) || host.Internal(h, mesh, nil) {
			return nil, false
		}
		se := pass.Mesh.ServiceEntry(vs.GetNamespace(), h)
		missing = missing || se == nil
		if se == nil {
			continue
		}
		for _, p := range se.Spec.GetPorts() {
			sp := spokenPort{p.GetNumber(), port.Parse(p.GetProtocol())}
			if sp.protocol == port.UDP || slices.Contains(ports, sp) {
				continue
			}
			if len(ports) == maxPorts {
				pass.NotEvaluated(fmt.Sprintf("the hosts have more than %d ports", maxPorts))
				return nil, false
			}
			ports = append(ports, sp)
		}
	}
	if missing && !pass.Mesh.Complete(analysis.ServiceEntry) {
		pass.NotEvaluated("the ServiceEntries of the mesh are not known to tell which protocols the hosts speak")
	}
	return ports, !missing
}

// checkFault looks for a timeout and retries that an injected fault passes by:
// Envoy's fault filter comes before the router, which has both.
func checkFault(pass *analysis.Pass, path *field.Path, r *networking.HTTPRoute) {
	defaults := &pass.Policy.Defaults
	delay, abort := r.GetFault().GetDelay(), r.GetFault().GetAbort()
	if isInjected(delay) && r.GetTimeout() != nil && (defaults.Timeout == nil || *defaults.Timeout != r.GetTimeout().AsDuration()) {
		pass.Report(field.Invalid(path.Child("timeout"), r.GetTimeout().AsDuration().String(),
			"must not be beside `fault.delay`, which is over before the timeout begins; delay the requests where they arrive"))
	}
	if attempts := r.GetRetries().GetAttempts(); abort.GetPercentage().GetValue() > 0 && attempts > 0 && !areDefault(defaults.Retries, r.GetRetries()) {
		pass.Report(field.Invalid(path.Child("retries"), attempts,
			"must not be beside `fault.abort`, after which nothing is tried again; abort the requests where they arrive"))
	}
}

// isInjected reports whether any request is delayed: without a percentage none is.
func isInjected(delay *networking.HTTPFaultInjection_Delay) bool {
	if delay.GetPercentage() != nil {
		return delay.GetPercentage().GetValue() > 0
	}
	return delay.GetPercent() > 0 //nolint:staticcheck // what is deprecated is still served
}
