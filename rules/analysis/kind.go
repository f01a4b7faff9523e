// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"reflect"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// An Object is what rules check and mutators change: a Kubernetes object with
// metadata, of the newest version of its kind.
type Object interface {
	metav1.Object
	runtime.Object
}

// A Kind is a kind of object that Sallyport understands. The values below are
// all there are; compare them by pointer.
type Kind struct {
	schema.GroupKind
	// Resource is the plural name in API paths and RBAC rules.
	Resource string
	// Versions are all that Istio's CRDs serve, the newest first. They share
	// one schema, so every version is decoded into the newest one's Go type.
	Versions []string
	// ClusterScoped objects have no namespace.
	ClusterScoped bool
	// New returns an empty object of the kind.
	New func() Object

	typ  reflect.Type
	spec int // index of the field Spec
}

// Spec returns a pointer to the spec of an object of the kind: a protobuf message
// if the kind is Istio's.
func (k *Kind) Spec(obj Object) any {
	return reflect.ValueOf(obj).Elem().Field(k.spec).Addr().Interface()
}

// The kinds, as served by Kubernetes and by istio.io/api v1.31
// (kubernetes/customresourcedefinitions.gen.yaml).
var (
	ServiceEntry        = kindOf[networkingv1.ServiceEntry]("networking.istio.io", "serviceentries", "v1", "v1beta1", "v1alpha3")
	VirtualService      = kindOf[networkingv1.VirtualService]("networking.istio.io", "virtualservices", "v1", "v1beta1", "v1alpha3")
	AuthorizationPolicy = kindOf[securityv1.AuthorizationPolicy]("security.istio.io", "authorizationpolicies", "v1", "v1beta1")
	DestinationRule     = kindOf[networkingv1.DestinationRule]("networking.istio.io", "destinationrules", "v1", "v1beta1", "v1alpha3")
	Gateway             = kindOf[networkingv1.Gateway]("networking.istio.io", "gateways", "v1", "v1beta1", "v1alpha3")
	Sidecar             = kindOf[networkingv1.Sidecar]("networking.istio.io", "sidecars", "v1", "v1beta1", "v1alpha3")
	Service             = kindOf[corev1.Service]("", "services", "v1")
	Namespace           = clusterScoped(kindOf[corev1.Namespace]("", "namespaces", "v1"))
)

// Kinds returns all kinds, in the order of the catalogue.
func Kinds() []*Kind {
	return []*Kind{ServiceEntry, VirtualService, AuthorizationPolicy, DestinationRule, Gateway, Sidecar, Service, Namespace}
}

// KindFor returns the kind that a group, version and kind name denotes, or nil
// if Sallyport does not know it or Istio does not serve that version.
func KindFor(gvk schema.GroupVersionKind) *Kind {
	for _, k := range Kinds() {
		if k.GroupKind == gvk.GroupKind() && slices.Contains(k.Versions, gvk.Version) {
			return k
		}
	}
	return nil
}

// KindOf returns the kind of an object by its Go type, or nil.
func KindOf(obj Object) *Kind {
	typ := reflect.TypeOf(obj)
	for _, k := range Kinds() {
		if k.typ == typ {
			return k
		}
	}
	return nil
}

func kindOf[T any, P interface {
	*T
	Object
}](group, resource string, versions ...string) *Kind {
	spec, ok := reflect.TypeFor[T]().FieldByName("Spec")
	if !ok {
		panic("analysis: " + resource + " have no spec")
	}
	return &Kind{
		GroupKind: schema.GroupKind{Group: group, Kind: reflect.TypeFor[T]().Name()},
		Resource:  resource,
		Versions:  versions,
		New:       func() Object { return P(new(T)) },
		typ:       reflect.TypeFor[P](),
		spec:      spec.Index[0],
	}
}

func clusterScoped(k *Kind) *Kind {
	k.ClusterScoped = true
	return k
}
