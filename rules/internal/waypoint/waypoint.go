// SPDX-License-Identifier: Apache-2.0

// Package waypoint tells which waypoint stands before an object in an ambient
// mesh (istio.io/istio v1.31, pilot/pkg/serviceregistry/ambient/waypoints.go).
package waypoint

import (
	"strings"

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

// Managed is the label of what Istio has made for a Gateway.
var Managed = label.GatewayManaged.Name

// IsWaypoint reports whether istiod takes an object for part of a waypoint or of an
// east-west gateway by its label, and so puts no waypoint before it.
func IsWaypoint(obj metav1.Object) bool {
	managed := obj.GetLabels()[Managed]
	return managed == "istio.io-mesh-controller" || managed == "istio.io-eastwest-controller"
}

// Bound returns namespace/name of the waypoint that labels of an object or of a
// namespace name, [None] or, if they name none at all, "". A label that is there
// counts although it is empty: it names a waypoint that there is not.
func Bound(obj metav1.Object, nameLabel, namespaceLabel string) string {
	name, ok := obj.GetLabels()[nameLabel]
	if !ok || name == None {
		return name
	}
	namespace, ok := obj.GetLabels()[namespaceLabel]
	if !ok {
		if namespace = obj.GetNamespace(); namespace == "" {
			namespace = obj.GetName() // the labels are a namespace's
		}
	}
	return namespace + "/" + name
}

// Of returns namespace/name of the waypoint before an object: its own labels count
// more than those of its namespace, which may be nil. It is "" if there is none.
func Of(obj metav1.Object, namespace analysis.Object) string {
	if IsWaypoint(obj) {
		return ""
	}
	bound := Bound(obj, Use, UseNamespace)
	if bound == "" && namespace != nil {
		bound = Bound(namespace, Use, UseNamespace)
	}
	if bound == None || strings.HasPrefix(bound, "/") || strings.HasSuffix(bound, "/") {
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
