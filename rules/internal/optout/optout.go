// SPDX-License-Identifier: Apache-2.0

// Package optout tells which mutators the users of an object want.
package optout

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/policy"
)

// Annotation says which mutators may change an object: their names separated by
// commas, with or without "mutate/", or "none". Without it all may.
const Annotation = "sallyport.dev/inject"

// Wants reports whether a mutator may change an object: by its annotation, which
// counts for nothing where the policy requires that traffic goes through a gateway
// or a waypoint.
func Wants(pol *policy.Policy, mutator string, obj metav1.Object) bool {
	list, ok := obj.GetAnnotations()[Annotation]
	if !ok || pol.Gateway.Mode == policy.ModeRequire || pol.Waypoint.Mode == policy.ModeRequire {
		return true
	}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == mutator || "mutate/"+name == mutator {
			return true
		}
	}
	return false
}
