// SPDX-License-Identifier: Apache-2.0

package virtualservice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/approval"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/lift"
	"github.com/sallyport-dev/sallyport/rules/internal/optout"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
	"github.com/sallyport-dev/sallyport/rules/internal/waypoint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var gatewayBypass = &analysis.Rule{
	Name:     "virtualservice/gateway-bypass",
	Severity: analysis.Off,
	Doc: `external hosts must be reached through the egress gateway

Where traffic has to leave by an egress gateway, so that it is seen and
authorized there, a sidecar must not connect to an external host itself.

The rule denies where a policy's gateway has mode Require, and warns where it has
mode Inject, unless the object opts out by the annotation sallyport.dev/inject;
elsewhere it is silent unless a policy gives it an action. In both modes
mutate/gateway-route leads through the gateway what can be: what is reported could
not be, and the message says why.

In a VirtualService that sidecars use it looks at the routes that apply to them,
also by delegates: none may lead to an external host, and no port of its hosts may
be forgotten, as TLS on port 443 beside http routes is. Routes of gateways are left
alone, and so are destinations without weight beside others, and mirrors, which
virtualservice/external-mirror is about.

In a ServiceEntry it looks at each external host, wildcards included, and at the
VirtualService that the namespace applies to it. That must lead each port to the
Service of a configured egress gateway by a route of the port's protocol: an
http route leaves TLS on port 443 going straight out. So create the
VirtualService before the ServiceEntry. Ports with UDP, which Istio does not
handle, are passed over, and so are ServiceEntries that only the namespaces of
egress gateways see.

Hosts that hosts.allowed of the policy has with 'direct: true', on these ports,
may be reached without the gateway. Hosts inside the mesh never are meant, nor are
namespaces of the ambient mesh where the policy's waypoint has a mode too.

All this keeps well-behaved workloads on the way. A workload that is not can go
around its sidecar: only a NetworkPolicy that lets nothing but the gateway out
makes the way the only one.`,
	Reads: lift.Reads,
	Run:   slices.Concat(analysis.On(checkRouteBypass), analysis.On(checkHostBypass)),
}

// bypassSeverity returns how grave it is that an object lets a bypass; ok is false if
// nobody asks for the rule there.
func bypassSeverity(pass *analysis.Pass, obj analysis.Object) (severity analysis.Severity, ok bool) {
	if pass.Policy.Waypoint.Mode != policy.ModeOff && waypoint.IsAmbient(pass.Config, pass.Mesh.Object(analysis.Namespace, "", obj.GetNamespace())) {
		return analysis.Off, false
	}
	switch {
	case pass.Policy.Gateway.Mode == policy.ModeRequire:
		return analysis.Error, true
	case pass.Policy.Gateway.Mode == policy.ModeInject && optout.Wants(pass.Policy, lift.MutatorName, obj):
		return analysis.Warning, true
	}
	_, ok = pass.Policy.Rules[pass.Rule.Name]
	return analysis.Off, ok
}

func checkRouteBypass(pass *analysis.Pass, vs *networkingv1.VirtualService) {
	severity, ok := bypassSeverity(pass, vs)
	if !ok || !route.AppliesToMesh(vs) {
		return
	}
	todo, reported := "", false
	for h := range hops(pass, vs, onSidecars) {
		se, external := route.External(pass.Config, pass.Mesh, h.namespace, h.Destination)
		if !external || approval.Direct(pass.Policy, h.host, approval.Ports(h.Destination, se)) {
			continue
		}
		if todo == "" {
			todo = whatToDo(pass, vs)
		}
		reported = true
		pass.ReportAs(severity, field.Invalid(h.at(), h.host, "must not be reached by sidecars directly"+todo))
	}
	if !reported {
		checkForgottenPorts(pass, vs, severity)
	}
}

// checkForgottenPorts looks at the ports of the VirtualService's own hosts for which
// it has no routes, so that sidecars connect to them as they do without it.
func checkForgottenPorts(pass *analysis.Pass, vs *networkingv1.VirtualService, severity analysis.Severity) {
	todo := ""
	legs := gatewayLegs{}
	for i, h := range vs.Spec.GetHosts() {
		h = host.Expand(h, vs.GetNamespace(), pass.Config.Mesh.ClusterDomain)
		se, external := route.External(pass.Config, pass.Mesh, vs.GetNamespace(), &networking.Destination{Host: h})
		if se == nil || !external || host.IsWildcard(h) {
			continue
		}
		if direct := directPorts(pass, se, h, legs.of(pass, vs)); len(direct) > 0 {
			todo = cmp.Or(todo, whatToDo(pass, vs))
			pass.ReportAs(severity, field.Invalid(hostsPath.Index(i), h,
				"must not be reached by sidecars directly on "+strings.Join(direct, ", ")+todo))
		}
	}
}

// whatToDo says why mutate/gateway-route does not lead the routes through the
// gateway, and what helps; or, if it would, how to do it by hand.
func whatToDo(pass *analysis.Pass, vs *networkingv1.VirtualService) string {
	reason := lift.Reason(&lift.World{Policy: pass.Policy, Config: pass.Config, Mesh: pass.Mesh}, vs)
	if reason == "" {
		return fmt.Sprintf("; let them use %s, and lead the host on from there", gatewayToUse(pass))
	}
	return fmt.Sprintf(", and cannot be led through the egress gateway '%s' for them, since %s", pass.Policy.Gateway.Name, reason)
}

func checkHostBypass(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	severity, ok := bypassSeverity(pass, se)
	if !ok || isForGateways(pass.Config, se) {
		return
	}
	unknown := false
	legs := gatewayLegs{}
	for i, h := range se.Spec.GetHosts() {
		h = host.Normal(h)
		if h == "" || host.Internal(h, &pass.Config.Mesh, nil) {
			continue
		}
		direct := directPorts(pass, se, h, legs.of(pass, pass.Mesh.VirtualService(se.GetNamespace(), h)))
		switch {
		case len(direct) == 0:
		case len(pass.Config.Mesh.EgressGateways) == 0:
			pass.NotEvaluated("no egressGateways are configured")
			return
		case pass.Mesh.VirtualService(se.GetNamespace(), h) == nil && !pass.Mesh.Complete(analysis.VirtualService):
			unknown = true
		default:
			pass.Await()
			pass.ReportAs(severity, field.Invalid(hostsPath.Index(i), h, fmt.Sprintf(
				"must not be reached by sidecars directly on %s; %s", strings.Join(direct, ", "), howToLead(pass, se.GetNamespace(), h))))
		}
	}
	if unknown {
		pass.NotEvaluated("the VirtualServices of the mesh are not known to tell which hosts are led through a gateway")
	}
}

// howToLead says what to do for a host, some port of which no routes lead through the
// gateway.
func howToLead(pass *analysis.Pass, namespace, h string) string {
	if host.IsWildcard(h) {
		return "list the exact hosts, or have it added to `hosts.allowed` of the EgressPolicy with `direct: true`"
	}
	vs := pass.Mesh.VirtualService(namespace, h)
	switch mode := pass.Policy.Gateway.Mode; {
	case mode == policy.ModeOff:
		return "first create a VirtualService that leads these ports to " + gatewayToUse(pass)
	case vs == nil && mode == policy.ModeInject:
		return fmt.Sprintf("create a VirtualService with routes for it, which are led through the egress gateway '%s' then", pass.Policy.Gateway.Name)
	case vs == nil:
		return fmt.Sprintf("first create a VirtualService with routes for it, which are led through the egress gateway '%s' then", pass.Policy.Gateway.Name)
	case mode == policy.ModeInject:
		return fmt.Sprintf("apply VirtualService '%s/%s' again, whose routes are led through the egress gateway '%s' then, or which says why not", vs.GetNamespace(), vs.GetName(), pass.Policy.Gateway.Name)
	default:
		return fmt.Sprintf("VirtualService '%s/%s' must lead these ports through the egress gateway '%s' first; add routes for them to it, or leave these ports away", vs.GetNamespace(), vs.GetName(), pass.Policy.Gateway.Name)
	}
}

// gatewayToUse says which egress gateway the policy wants, and where it is.
func gatewayToUse(pass *analysis.Pass) string {
	name := pass.Policy.Gateway.Name
	for _, g := range pass.Config.Mesh.EgressGateways {
		if g.Name == name {
			return fmt.Sprintf("the egress gateway '%s', Service '%s'", name, g.Service)
		}
	}
	return fmt.Sprintf("the egress gateway '%s'", name)
}

// isForGateways reports whether no workloads see a ServiceEntry but egress
// gateways.
func isForGateways(cfg *config.Configuration, se *networkingv1.ServiceEntry) bool {
	scope := visibility.OfServiceEntry(cfg, se)
	return !scope.Public && !slices.ContainsFunc(scope.Namespaces, func(namespace string) bool {
		return !slices.ContainsFunc(cfg.Mesh.EgressGateways, func(g config.EgressGateway) bool { return g.Namespace() == namespace })
	})
}
