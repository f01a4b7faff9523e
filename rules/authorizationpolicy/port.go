// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"fmt"
	"strconv"

	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var port = &analysis.Rule{
	Name:     "authorizationpolicy/port",
	Severity: analysis.Warning,
	Doc: `a port in a policy is the pod's

The ports of a policy are compared with the port on which the connection arrives at
the proxy. For a gateway that is the targetPort of its Service, such as 8443, not
the Service's own 443.

The rule looks at policies that select egress gateways of the configuration, and
warns of a port (in ports, notPorts or destination.port) that the gateway's Service
has as a port, but as no targetPort.

Write the targetPort.`,
	Reads: []*analysis.Kind{analysis.Service},
	Run:   analysis.On(checkPort),
}

func checkPort(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	for _, gateway := range guardOf(pass.Config, ap).gateways {
		namespace, name := serviceOf(gateway)
		if name == "" || !namesPorts(ap) {
			continue
		}
		svc, _ := pass.Mesh.Object(analysis.Service, namespace, name).(*corev1.Service)
		if svc == nil {
			if !pass.Mesh.Complete(analysis.Service) {
				pass.NotEvaluated("the Service of the egress gateway is not known")
			}
			continue
		}
		for i, r := range ap.Spec.GetRules() {
			for _, l := range portLists(rulesPath().Index(i), r) {
				checkServicePorts(pass, svc, l)
			}
		}
	}
}

func namesPorts(ap *securityv1.AuthorizationPolicy) bool {
	for _, r := range ap.Spec.GetRules() {
		for _, l := range portLists(rulesPath(), r) {
			if len(l.values) > 0 {
				return true
			}
		}
	}
	return false
}

func portLists(path *field.Path, r *security.Rule) []list {
	var lists []list
	for at, op := range operations(path, r) {
		lists = append(lists, list{at.Child("ports"), op.GetPorts()}, list{at.Child("notPorts"), op.GetNotPorts()})
	}
	for i, c := range r.GetWhen() {
		if c.GetKey() == keyDestinationPort {
			at := path.Child("when").Index(i)
			lists = append(lists, list{at.Child("values"), c.GetValues()}, list{at.Child("notValues"), c.GetNotValues()})
		}
	}
	return lists
}

func checkServicePorts(pass *analysis.Pass, svc *corev1.Service, l list) {
	for i, value := range l.values {
		number, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			continue
		}
		if target := targetOf(svc, int32(number)); target != 0 {
			pass.Report(field.Invalid(l.path.Index(i), value, fmt.Sprintf(
				"should be '%d', on which the gateway's pods listen: '%s' is the port of their Service", target, value)))
		}
	}
}

// targetOf returns the targetPort of a port of the Service, or 0 if the number is
// itself one, no port at all, or if its targetPort has no number.
func targetOf(svc *corev1.Service, number int32) int32 {
	target := int32(0)
	for _, p := range svc.Spec.Ports {
		if p.TargetPort.IntVal == number || p.Port == number && p.TargetPort.IntVal == 0 {
			return 0
		}
		if p.Port == number {
			target = p.TargetPort.IntVal
		}
	}
	return target
}
