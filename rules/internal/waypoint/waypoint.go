// SPDX-License-Identifier: Apache-2.0

// Package waypoint tells which waypoint stands before an object in an ambient
// mesh (istio.io/istio v1.31, pilot/pkg/serviceregistry/ambient/waypoints.go).
package waypoint

import (
	"istio.io/api/label"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
)

// The labels that bind to a waypoint.
var (
	Use             = label.IoIstioUseWaypoint.Name
	UseNamespace    = label.IoIstioUseWaypointNamespace.Name
	Canary          = label.IoIstioUseWaypointCanary.Name
	CanaryNamespace = label.IoIstioUseWaypointCanaryNamespace.Name
)

// None is what stands for no waypoint in [Use].
const None = "none"

// Bound returns namespace/name of the waypoint that labels of an object or of a
// namespace name, [None] or, if they name none at all, "".
func Bound(obj metav1.Object, nameLabel, namespaceLabel string) string {
	name := obj.GetLabels()[nameLabel]
	if name == "" || name == None {
		return name
	}
	namespace := obj.GetLabels()[namespaceLabel]
	if namespace == "" {
		if namespace = obj.GetNamespace(); namespace == "" {
			namespace = obj.GetName() // the labels are a namespace's
		}
	}
	return namespace + "/" + name
}

// Of returns namespace/name of the waypoint before an object: its own labels count
// more than those of its namespace, which may be nil. It is "" if there is none.
func Of(obj metav1.Object, namespace analysis.Object) string {
	bound := Bound(obj, Use, UseNamespace)
	if bound == "" && namespace != nil {
		bound = Bound(namespace, Use, UseNamespace)
	}
	if bound == None {
		return ""
	}
	return bound
}

// IsAmbient reports whether a namespace, of which nil is one that is not known, is
// part of the ambient mesh. In a mesh that is ambient by default those are not that
// have sidecars injected.
func IsAmbient(c *config.Configuration, namespace analysis.Object) bool {
	if namespace != nil {
		switch namespace.GetLabels()[label.IoIstioDataplaneMode.Name] {
		case "ambient":
			return true
		case "none":
			return false
		}
		if labels := namespace.GetLabels(); labels["istio-injection"] == "enabled" || labels[label.IoIstioRev.Name] != "" {
			return false
		}
	}
	return c.Mesh.DataPlane == config.DataPlaneAmbient
}
