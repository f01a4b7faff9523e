// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// policies are AuthorizationPolicies by namespace, in the order of their names.
// Lists are replaced, not changed: they are handed out.
type policies map[string][]*securityv1.AuthorizationPolicy

func (p policies) set(ap *securityv1.AuthorizationPolicy, present bool) {
	list := changedList(p[ap.GetNamespace()], ap, present)
	if len(list) == 0 {
		delete(p, ap.GetNamespace())
		return
	}
	p[ap.GetNamespace()] = list
}

// gateways are by one of the labels that they select, which is empty for those
// that select all pods.
type gateways map[label][]*networkingv1.Gateway

type label struct{ key, value string }

// rarest returns the label by which a Gateway with the selector is filed: the
// longest, in the hope that few share it.
func rarest(selector map[string]string) label {
	var best label
	for key, value := range selector {
		l := label{key, value}
		if cmp.Or(cmp.Compare(len(l.key)+len(l.value), len(best.key)+len(best.value)), strings.Compare(l.key, best.key)) > 0 {
			best = l
		}
	}
	return best
}

func (g gateways) set(gateway *networkingv1.Gateway, selector map[string]string, present bool) {
	l := rarest(selector)
	list := changedList(g[l], gateway, present)
	if len(list) == 0 {
		delete(g, l)
		return
	}
	g[l] = list
}

// selecting returns the Gateways that select pods with the labels.
func (g gateways) selecting(labels map[string]string) []*networkingv1.Gateway {
	found := slices.Clone(g[label{}])
	for key, value := range labels {
		for _, gateway := range g[label{key, value}] {
			if isSubset(gateway.Spec.GetSelector(), labels) {
				found = append(found, gateway)
			}
		}
	}
	slices.SortFunc(found, byName)
	return found
}

func isSubset(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// changedList returns a copy of a list in the order of names with an object in
// or out.
func changedList[T metav1.Object](list []T, obj T, present bool) []T {
	i, found := slices.BinarySearchFunc(list, obj, byName)
	switch list := slices.Clone(list); {
	case present && found:
		list[i] = obj
		return list
	case present:
		return slices.Insert(list, i, obj)
	case found:
		return slices.Delete(list, i, i+1)
	default:
		return list
	}
}

func byName[T metav1.Object](a, b T) int {
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
}
