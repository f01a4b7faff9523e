// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy

import (
	"strconv"

	"istio.io/api/annotation"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var dryRun = &analysis.Rule{
	Name:     "authorizationpolicy/dry-run",
	Severity: analysis.Warning,
	Doc: `a policy for the way out should be in force

With the annotation istio.io/dry-run a proxy only logs what a policy would have
decided. The rule warns of it on policies for egress gateways, egress waypoints and
service entries, lest it be forgotten there.

Remove the annotation.`,
	Run: analysis.On(checkDryRun),
}

func checkDryRun(pass *analysis.Pass, ap *securityv1.AuthorizationPolicy) {
	name := annotation.IoIstioDryRun.Name
	value := ap.GetAnnotations()[name]
	if on, err := strconv.ParseBool(value); err != nil || !on || !guards(pass, ap) {
		return
	}
	pass.Report(field.Invalid(field.NewPath("metadata", "annotations").Key(name), value,
		"keeps the policy from being enforced; remove the annotation"))
}
