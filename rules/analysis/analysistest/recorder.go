// SPDX-License-Identifier: Apache-2.0

package analysistest

import (
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A recorder is a mesh that notes which kinds were looked up.
type recorder struct {
	mesh analysis.Mesh
	read map[*analysis.Kind]bool
}

// ServiceEntry implements [analysis.Mesh].
func (r *recorder) ServiceEntry(namespace, host string) *networkingv1.ServiceEntry {
	r.read[analysis.ServiceEntry] = true
	return r.mesh.ServiceEntry(namespace, host)
}

// Complete implements [analysis.Mesh].
func (r *recorder) Complete(kind *analysis.Kind) bool {
	r.read[kind] = true
	return r.mesh.Complete(kind)
}
