// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// definitions says whether the API server knows the kinds.
func definitions(_ context.Context, opts *Options) *Section {
	s := &Section{Name: "Definitions"}
	wanted := map[schema.GroupVersion][]string{v1alpha1.GroupVersion: {"egresspolicies", "egressexemptions"}}
	for _, kind := range kinds() {
		gv := schema.GroupVersion{Group: kind.Group, Version: kind.Versions[0]}
		wanted[gv] = append(wanted[gv], kind.Resource)
	}
	for gv, resources := range wanted {
		served, err := opts.Client.Discovery().ServerResourcesForGroupVersion(gv.String())
		if err != nil && !apierrors.IsNotFound(err) {
			s.missed(fmt.Errorf("ask what is served of %s: %w", gv, err))
			continue
		}
		if err != nil {
			served = new(metav1.APIResourceList)
		}
		for _, resource := range resources {
			if !slices.ContainsFunc(served.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }) {
				s.problem(fmt.Sprintf("%s of %s are not served: apply the CRDs of %s", resource, gv, owner(gv)))
			}
		}
	}
	slices.Sort(s.Problems)
	if len(s.Problems)+len(s.Unknown) == 0 {
		s.fact("all CRDs are there")
	}
	return s
}

func owner(gv schema.GroupVersion) string {
	if gv.Group == v1alpha1.GroupVersion.Group {
		return "Sallyport, deploy/crds"
	}
	return "Istio"
}

// kinds are those that rules are on or read, in the order of their names.
func kinds() []*analysis.Kind {
	var all []*analysis.Kind
	for _, k := range analysis.Kinds() {
		if isRead := slices.Contains(rules.Reads(), k); isRead || slices.ContainsFunc(rules.All, func(r *analysis.Rule) bool { return slices.Contains(r.Kinds(), k) }) {
			all = append(all, k)
		}
	}
	return all
}
