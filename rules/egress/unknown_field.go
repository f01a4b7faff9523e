// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/schema"
)

var unknownField = &analysis.Rule{
	Name:     "egress/unknown-field",
	Severity: analysis.Warning,
	Doc: `a field must be one that Istio's CRDs have

The API server drops fields that are not in the schema of a CRD. Unless the
client asks for strict validation, as kubectl does but many controllers and
older tools do not, nobody hears of it. With export_to: ["."] instead of
exportTo, an object that was meant for one namespace is seen by all. Istio's own
decoder does take the names that fields have in protobuf, so that a check of the
file alone looks good. Only mirror_percent and jwks_uri are spelled like that in
the CRDs too.

In files the rule looks at every field under spec, whatever the version of the
object, and at values of enums, which must be one of the names in the schema and
no number: resolution: DNS, not 2. What it finds is denied, and the other rules
judge the object without these fields, as the cluster would have it. Duplicate
keys, and unknown fields outside of spec, make a file unreadable instead.

The webhook only sees what the API server has kept. There the rule looks at the
annotation kubectl.kubernetes.io/last-applied-configuration, if the object has
one, which holds what somebody applied, and warns of fields that were dropped.

Write the name as in Istio's reference, or remove the field.`,
	Run: slices.Concat(
		analysis.On(checkUnknownFields[*networkingv1.ServiceEntry]),
		analysis.On(checkUnknownFields[*networkingv1.VirtualService]),
		analysis.On(checkUnknownFields[*networkingv1.DestinationRule]),
		analysis.On(checkUnknownFields[*networkingv1.Gateway]),
		analysis.On(checkUnknownFields[*networkingv1.Sidecar]),
		analysis.On(checkUnknownFields[*securityv1.AuthorizationPolicy]),
	),
}

func checkUnknownFields[T analysis.Object](pass *analysis.Pass, obj T) {
	kind := analysis.KindOf(obj)
	for _, u := range pass.Unknown {
		if len(u.Supported) > 0 {
			pass.ReportAs(analysis.Error, field.NotSupported(u.Path, u.Value, u.Supported))
			continue
		}
		pass.ReportAs(analysis.Error, field.Invalid(u.Path, u.Path.String(), fmt.Sprintf(
			"must be a field of %s, or the API server drops it; %s", kind.Kind, correction(u))))
	}
	for _, u := range droppedFields(kind, obj.GetAnnotations()[lastApplied]) {
		pass.Report(field.Invalid(u.Path, u.Path.String(), fmt.Sprintf(
			"was applied but dropped: it is no field of %s; %s", kind.Kind, correction(u))))
	}
}

func correction(u analysis.UnknownField) string {
	if u.Suggestion == "" {
		return "remove it"
	}
	return fmt.Sprintf("did you mean `%s`?", u.Suggestion)
}

// lastApplied is where kubectl apply keeps what it was given.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// maxDropped is the most dropped fields that are reported of one object.
const maxDropped = 16

// droppedFields returns the fields of an applied object, as JSON, that the API
// server cannot have kept. An object of another kind, and what is no object, was
// not put there by kubectl and says nothing.
func droppedFields(kind *analysis.Kind, applied string) []analysis.UnknownField {
	if applied == "" {
		return nil
	}
	var object struct {
		Kind string `json:"kind"`
		Spec any    `json:"spec"`
	}
	if kjson.UnmarshalCaseSensitivePreserveInts([]byte(applied), &object) != nil || object.Kind != kind.Kind {
		return nil
	}
	unknown, _ := schema.Prune(kind, object.Spec)
	unknown = slices.DeleteFunc(unknown, func(u analysis.UnknownField) bool { return len(u.Supported) > 0 })
	return unknown[:min(len(unknown), maxDropped)]
}
