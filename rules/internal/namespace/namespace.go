// SPDX-License-Identifier: Apache-2.0

// Package namespace answers what rules of several kinds ask alike about the
// namespaces of the mesh.
package namespace

import (
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// Exists reports whether there is a namespace of that name, as far as that is
// known: of two there always are.
func Exists(pass *analysis.Pass, name string) bool {
	if name == "default" || name == pass.Config.Mesh.RootNamespace {
		return true
	}
	return pass.Mesh.Object(analysis.Namespace, "", name) != nil
}

// Any stands for a host that is not of one namespace.
const Any = "*"

// OwnerOf returns the namespace whose Services a host in normal form names, [Any]
// for a name or wildcard for those of no certain namespace, or "" for a host that
// is no Service's. A name of two labels is one if its namespace exists, and so is a
// wildcard for such names.
func OwnerOf(pass *analysis.Pass, h string) string {
	cluster := pass.Config.Mesh.ClusterDomain
	name := strings.TrimPrefix(h, "*.")
	for _, suffix := range []string{"svc." + cluster, "svc"} {
		if name == suffix {
			return Any
		}
		if rest, ok := strings.CutSuffix(name, "."+suffix); ok {
			return last(rest, host.IsWildcard(h))
		}
	}
	if host.Below(cluster, name) || host.IsWildcard(h) && host.Covers(h, "*.svc."+cluster) {
		return Any
	}
	service, namespace, ok := strings.Cut(name, ".")
	switch {
	case !ok && strings.HasPrefix(h, "*.") && Exists(pass, name):
		return name
	case !ok && host.IsWildcard(h), strings.Contains(namespace, "."):
		return ""
	case !ok && host.Internal(h, &pass.Config.Mesh, nil):
		return Any
	case ok && service != "" && Exists(pass, namespace):
		return namespace
	default:
		return ""
	}
}

// last returns the namespace in what comes before "svc" in a host: its last label.
// A wildcard for the Services of all namespaces has none.
func last(rest string, wildcard bool) string {
	namespace := rest[strings.LastIndexByte(rest, '.')+1:]
	if strings.HasPrefix(namespace, "*") || namespace == rest && !wildcard {
		return Any
	}
	return namespace
}
