// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var staticEndpoints = &analysis.Rule{
	Name:     "serviceentry/static-endpoints",
	Severity: analysis.Error,
	Doc: `static resolution needs endpoints

With resolution STATIC the proxy sends requests to the endpoints that the
service entry lists, or to the workloads that its workloadSelector selects.
Without either, istiod makes a cluster with no address in it: requests fail
with status 503, until somebody else's object supplies an address for the same
host and receives them. istiod accepts that silently. A workloadSelector
without labels selects nothing.

List endpoints, set a workloadSelector with labels, or use resolution DNS if
the host's name is in DNS.`,
	Run: analysis.On(checkStaticEndpoints),
}

func checkStaticEndpoints(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if se.Spec.GetResolution() != networking.ServiceEntry_STATIC || len(se.Spec.GetWorkloadSelector().GetLabels()) > 0 {
		return
	}
	for _, e := range se.Spec.GetEndpoints() {
		if e.GetAddress() != "" || e.GetNetwork() != "" {
			return
		}
	}
	pass.Report(field.Invalid(field.NewPath("spec", "resolution"), se.Spec.GetResolution().String(),
		"must come with `endpoints` or with `workloadSelector.labels`, else every request fails; add them, or use 'DNS' if the host is in DNS"))
}
