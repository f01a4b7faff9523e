// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"slices"
	"strings"

	typev1beta1 "istio.io/api/type/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var inert = &analysis.Rule{
	Name:     "authorizationpolicy/inert",
	Severity: analysis.Warning,
	Doc: `policies do nothing for what a pod sends

An authorization policy is about what a workload receives. One that selects an
application's pods and names external hosts blocks nothing that these pods send.

The rule warns of policies that select no egress gateway and no waypoint, if they
name a host (in hosts or connection.sni) that a service entry declares, or if they
are called 'egress' or 'outbound'. Policies for other gateways, and in platform
namespaces, are left alone.

Attach the policy to the egress gateway, by its namespace and selector, or to the
egress waypoint or service entry, by targetRefs.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkInert),
}

func checkInert(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	if pass.Config.IsPlatform(ap.GetNamespace()) || guards(pass, ap) || isForGateway(ap) {
		return
	}
	const detail = "does nothing for what the selected pods send, since policies apply to what they receive; attach it to the egress gateway or waypoint"
	external := false
	for _, not := range []bool{false, true} {
		for l := range hostLists(ap, not) {
			for i, written := range l.values {
				external = external || externalHost(pass, written) != ""
				if isDeclared(pass, ap.GetNamespace(), written) {
					pass.Report(field.Invalid(l.path.Index(i), written, detail))
					return
				}
			}
		}
	}
	if isCalledEgress(ap.GetName()) {
		pass.Report(field.Invalid(field.NewPath("metadata", "name"), ap.GetName(), detail))
	} else if external && !pass.Mesh.Complete(analysis.ServiceEntry) {
		pass.NotEvaluated("not all ServiceEntries are known that may declare these hosts")
	}
}

// isForGateway reports whether the policy is for a gateway or a waypoint, which
// receive what others send.
func isForGateway(ap *securityv1.AuthorizationPolicy) bool {
	labels := ap.Spec.GetSelector().GetMatchLabels()
	_, managed := labels["gateway.networking.k8s.io/gateway-name"]
	return managed || strings.HasSuffix(labels["istio"], "gateway") || slices.ContainsFunc(targetRefs(ap), func(r *typev1beta1.PolicyTargetReference) bool {
		return r.GetKind() == kindGateway || r.GetKind() == kindGatewayClass
	})
}

// isDeclared reports whether a service entry that the namespace sees declares the
// host outside the mesh.
func isDeclared(pass *analysis.Pass, namespace, written string) bool {
	h := externalHost(pass, written)
	return h != "" && pass.Mesh.ServiceEntry(namespace, h) != nil
}

// externalHost returns the host of a pattern, or "" if it is none outside the mesh.
func externalHost(pass *analysis.Pass, written string) string {
	h := host.Normal(host.TrimPort(strings.TrimSuffix(written, ":*")))
	if h == "*" || host.IsPartial(h) || host.Internal(h, &pass.Config.Mesh, nil) {
		return ""
	}
	return h
}

func isCalledEgress(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "-"), func(word string) bool { return word == "egress" || word == "outbound" })
}
