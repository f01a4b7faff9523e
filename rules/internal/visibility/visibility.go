// SPDX-License-Identifier: Apache-2.0

// Package visibility tells which namespaces see an object, as Istio does
// (istio.io/istio v1.31, pilot/pkg/model/push_context.go,
// initDefaultExportMaps and initServiceRegistry).
package visibility

import (
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/config"
)

// A Scope is the set of namespaces that see an object.
type Scope struct {
	// Public objects are seen by every namespace.
	Public bool
	// Namespaces see an object that is not public.
	Namespaces []string
}

// OfServiceEntry returns who sees a ServiceEntry. In an ambient mesh everybody
// does: ztunnel and waypoints do not look at exportTo.
func OfServiceEntry(c *config.Configuration, se *networkingv1.ServiceEntry) Scope {
	if c.Mesh.DataPlane == config.DataPlaneAmbient {
		return Scope{Public: true}
	}
	return scope(se.GetNamespace(), se.Spec.GetExportTo(), c.Mesh.DefaultExportTo.ServiceEntry)
}

// OfVirtualService returns who sees a VirtualService.
func OfVirtualService(c *config.Configuration, vs *networkingv1.VirtualService) Scope {
	return scope(vs.GetNamespace(), vs.Spec.GetExportTo(), c.Mesh.DefaultExportTo.VirtualService)
}

// OfDestinationRule returns who sees a DestinationRule besides its own
// namespace, where all apply. One for some workloads stays there in any case
// (setDestinationRules).
func OfDestinationRule(c *config.Configuration, dr *networkingv1.DestinationRule) Scope {
	if dr.Spec.GetWorkloadSelector() != nil {
		return Scope{Namespaces: []string{dr.GetNamespace()}}
	}
	return scope(dr.GetNamespace(), dr.Spec.GetExportTo(), c.Mesh.DefaultExportTo.DestinationRule)
}

// maxNamespaces bounds what an index remembers of one object. An object that is
// exported to more namespaces by name counts as public.
const maxNamespaces = 32

func scope(own string, exportTo, defaults []string) Scope {
	if len(exportTo) == 0 {
		exportTo = defaults
	}
	var s Scope
	for _, e := range exportTo {
		switch e {
		case "*":
			return Scope{Public: true}
		case "~":
			return Scope{}
		case ".":
			e = own
		}
		if slices.Contains(s.Namespaces, e) {
			continue
		}
		if len(s.Namespaces) == maxNamespaces {
			return Scope{Public: true}
		}
		s.Namespaces = append(s.Namespaces, e)
	}
	return s
}

// Crosses reports whether a namespace other than own is in the scope.
func (s Scope) Crosses(own string) bool {
	return s.Public || slices.ContainsFunc(s.Namespaces, func(n string) bool { return n != own })
}

// Includes reports whether all who are in the other scope are in this one.
func (s Scope) Includes(other Scope) bool {
	if s.Public || other.Public {
		return s.Public
	}
	return !slices.ContainsFunc(other.Namespaces, func(n string) bool { return !slices.Contains(s.Namespaces, n) })
}

// Empty reports whether nobody sees the object.
func (s Scope) Empty() bool { return !s.Public && len(s.Namespaces) == 0 }
