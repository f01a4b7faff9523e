// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

var subjectAltNames = &analysis.Rule{
	Name:     "serviceentry/subject-alt-names",
	Severity: analysis.Warning,
	Doc: `subjectAltNames must be names of the host

subjectAltNames of a service entry say whose certificate a proxy accepts.

If the host is that of a Service, istiod adds them to the identities that clients
accept for the Service, which nobody asked for. If a DestinationRule originates
TLS to the host and lists no names itself, those of the service entry count: a
name that has nothing to do with the host lets another party's certificate pass.

The rule warns about subjectAltNames on a Service's host, and, where TLS is
originated, about names that are neither a host, nor above or below one, nor a
'spiffe://' identity.

Remove them, or list names of the host.`,
	Reads: []*analysis.Kind{analysis.DestinationRule, analysis.Service},
	Run:   analysis.On(checkSubjectAltNames),
}

func checkSubjectAltNames(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	sans := se.Spec.GetSubjectAltNames()
	if len(sans) == 0 {
		return
	}
	path := field.NewPath("spec", "subjectAltNames")
	for _, h := range se.Spec.GetHosts() {
		if namespace, name, ok := serviceOf(pass, host.Normal(h)); ok && pass.Mesh.Object(analysis.Service, namespace, name) != nil {
			pass.Report(field.Invalid(path.Index(0), sans[0], fmt.Sprintf(
				"should not be added to the identities of Service '%s/%s', whose host this is; remove `subjectAltNames`", namespace, name)))
			return
		}
	}
	if !pass.Mesh.Complete(analysis.Service) || !pass.Mesh.Complete(analysis.DestinationRule) {
		pass.NotEvaluated("not all Services and DestinationRules are known that may be for these hosts")
	}
	if egress(pass.Config, se) != outside || !namesComeFrom(pass, se) {
		return
	}
	hosts := make([]string, len(se.Spec.GetHosts()))
	for i, h := range se.Spec.GetHosts() {
		hosts[i] = host.Normal(h)
	}
	findings := 0
	for i, san := range sans {
		if strings.HasPrefix(san, "spiffe://") || belongsTo(hosts, host.Normal(san)) {
			continue
		}
		pass.Report(field.Invalid(path.Index(i), san,
			"should be a name of the host, else another party's certificate is accepted for it; remove it, or list the host's own name"))
		if findings++; findings == maxNameFindings {
			return
		}
	}
}

// maxNameFindings bounds the findings about one list of names, which has no end.
const maxNameFindings = 16

// serviceOf returns the Service whose full name a host is.
func serviceOf(pass *analysis.Pass, h string) (namespace, name string, ok bool) {
	rest, ok := strings.CutSuffix(h, ".svc."+pass.Config.Mesh.ClusterDomain)
	if !ok {
		return "", "", false
	}
	name, namespace, ok = strings.Cut(rest, ".")
	return namespace, name, ok
}

// namesComeFrom reports whether the names that proxies compare certificates with
// are those of the ServiceEntry: TLS is originated and the DestinationRule lists
// none.
func namesComeFrom(pass *analysis.Pass, se *networkingv1.ServiceEntry) bool {
	rules := destinationRules(pass, se)
	for _, p := range se.Spec.GetPorts() {
		if tls := origination(rules, p.GetNumber()); tls != nil && len(tls.GetSubjectAltNames()) == 0 {
			return true
		}
	}
	return false
}

// belongsTo reports whether a name has to do with one of the hosts.
func belongsTo(hosts []string, san string) bool {
	base := strings.TrimPrefix(san, "*.")
	return slices.ContainsFunc(hosts, func(h string) bool {
		return host.Overlaps(h, san) || host.Below(base, h) && host.Labels(base) > 1 || host.Below(strings.TrimPrefix(h, "*."), base)
	})
}
