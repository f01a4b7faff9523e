// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/visibility"
)

var clusterName = &analysis.Rule{
	Name:     "serviceentry/cluster-name",
	Severity: analysis.Error,
	Doc: `hosts must not be the names of other namespaces' Services

istiod prefers a Service to a service entry of the same host, but only while the
Service exists, under its full name, and where it is visible. A service entry for
'reviews.prod', for a Service that is being replaced, or for '*.svc.cluster.local'
receives requests that were meant for somebody else.

Denied are hosts below the cluster domain or 'svc' that belong to another
namespace or to all of them, '<service>.<namespace>' where there is such a
namespace, and a name without any dot if the service entry is exported to other
namespaces, each of which may have a Service of that name. Names in the service
entry's own namespace are warned about: they may shadow a Service there.

Use a Service in the namespace that owns the name. Hosts that a policy allows and
service entries in platform namespaces are left alone.`,
	Reads: []*analysis.Kind{analysis.Namespace},
	Run:   analysis.On(checkClusterName),
}

func checkClusterName(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if pass.Config.IsPlatform(se.GetNamespace()) {
		return
	}
	for i, written := range se.Spec.GetHosts() {
		h := host.Normal(written)
		if isApprovedHost(pass.Policy, h) {
			continue
		}
		path := field.NewPath("spec", "hosts").Index(i)
		switch owner := ownerOf(pass, h); {
		case owner == "":
		case owner == anyNamespace:
			if host.Labels(h) == 1 && !host.IsWildcard(h) && !visibility.OfServiceEntry(pass.Config, se).Crosses(se.GetNamespace()) {
				pass.ReportAs(analysis.Warning, field.Invalid(path, written, "should not be a name without a dot, which shadows a Service of that name; use the destination's full host name"))
				continue
			}
			pass.Report(field.Invalid(path, written, "must not be a name for Services of any namespace; use a Service, or the destination's full host name"))
		case owner == se.GetNamespace():
			pass.ReportAs(analysis.Warning, field.Invalid(path, written, "should not be a name for Services of this namespace, which it may shadow; use a Service, or a host name outside the cluster domain"))
		default:
			pass.Report(field.Invalid(path, written, fmt.Sprintf("must not be a name for Services of namespace '%s'; use a Service there, or the destination's own host name", owner)))
		}
	}
}

// anyNamespace stands for a host that is not of one namespace.
const anyNamespace = "*"

// ownerOf returns the namespace whose Services a host names, [anyNamespace], or
// "" for a host that is no Service's.
func ownerOf(pass *analysis.Pass, h string) string {
	cluster := pass.Config.Mesh.ClusterDomain
	name := strings.TrimPrefix(h, "*.")
	for _, suffix := range []string{"svc." + cluster, "svc"} {
		if name == suffix {
			return anyNamespace
		}
		if rest, ok := strings.CutSuffix(name, "."+suffix); ok {
			return namespaceIn(rest, h)
		}
	}
	if host.Below(cluster, name) {
		return anyNamespace
	}
	service, namespace, ok := strings.Cut(name, ".")
	switch {
	case !ok && host.IsWildcard(h), strings.Contains(namespace, "."):
		return ""
	case !ok:
		if !host.Internal(h, &pass.Config.Mesh, nil) { // an address
			return ""
		}
		return anyNamespace
	case isNamespace(pass, namespace) && service != "":
		return namespace
	default:
		return ""
	}
}

// namespaceIn returns the namespace in what comes before "svc" in a host: the
// last label. A wildcard for the Services of all namespaces has none.
func namespaceIn(rest, h string) string {
	namespace := rest[strings.LastIndexByte(rest, '.')+1:]
	if strings.HasPrefix(namespace, "*") || namespace == rest && !host.IsWildcard(h) {
		return anyNamespace
	}
	return namespace
}

// isNamespace reports whether there is a namespace of that name, as far as that
// is known: of two there always are.
func isNamespace(pass *analysis.Pass, name string) bool {
	if name == "default" || name == pass.Config.Mesh.RootNamespace {
		return true
	}
	return pass.Mesh.Object(analysis.Namespace, "", name) != nil
}
