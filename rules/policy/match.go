// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// Matched is what a policy has to do with the namespaces that there are.
type Matched struct {
	// Namespaces is how many the policy selects.
	Namespaces int
	// Conflict is another policy with the same priority that says something else
	// where there can be only one value, or "". Field is where, and Namespace
	// one that both select.
	Conflict, Field, Namespace string
}

// Match compares policies with namespaces. Policies whose selector is not valid
// select none.
func Match(policies []*v1alpha1.EgressPolicy, namespaces []corev1.Namespace) []Matched {
	result := make([]Matched, len(policies))
	selected := make([][]int, len(policies))
	for i, p := range policies {
		selected[i] = selectedBy(p, namespaces)
		result[i].Namespaces = len(selected[i])
	}
	for i, p := range policies {
		for j, q := range policies {
			if i == j || p.Spec.Priority != q.Spec.Priority {
				continue
			}
			field := contested(&p.Spec, &q.Spec)
			if field == "" {
				continue
			}
			if common, ok := firstCommon(selected[i], selected[j]); ok {
				result[i].Conflict, result[i].Field, result[i].Namespace = q.Name, field, namespaces[common].Name
				break
			}
		}
	}
	return result
}

func selectedBy(p *v1alpha1.EgressPolicy, namespaces []corev1.Namespace) []int {
	selector, err := metav1.LabelSelectorAsSelector(p.Spec.NamespaceSelector)
	if err != nil {
		return nil
	}
	var selected []int
	for i := range namespaces {
		var set labels.Labels = labeled{namespaces[i].Name, namespaces[i].Labels}
		if selector.Matches(set) {
			selected = append(selected, i)
		}
	}
	return selected
}

// firstCommon returns the first number in both of two ascending lists.
func firstCommon(a, b []int) (int, bool) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			return a[0], true
		}
	}
	return 0, false
}

// contested returns a field of which there can be only one value and in which two
// policies differ, or "".
func contested(a, b *v1alpha1.EgressPolicySpec) string {
	var none v1alpha1.Defaults
	x, y := &none, &none
	if a.Defaults != nil {
		x = a.Defaults
	}
	if b.Defaults != nil {
		y = b.Defaults
	}
	switch {
	case x.Timeout != nil && y.Timeout != nil && x.Timeout.Duration != y.Timeout.Duration:
		return "defaults.timeout"
	case x.Retries != nil && y.Retries != nil && !reflect.DeepEqual(x.Retries, y.Retries):
		return "defaults.retries"
	case x.ExportTo != nil && y.ExportTo != nil && !reflect.DeepEqual(x.ExportTo, y.ExportTo):
		return "defaults.exportTo"
	case routesDiffer(a.Gateway, b.Gateway):
		return "gateway.name"
	case routesDiffer(a.Waypoint, b.Waypoint):
		return "waypoint.name"
	default:
		return ""
	}
}

// routesDiffer reports whether two routes of the same mode have different names.
func routesDiffer(a, b *v1alpha1.Route) bool {
	return a != nil && b != nil && a.Mode == b.Mode && a.Mode != v1alpha1.Mode(ModeOff) && a.Name != b.Name
}
