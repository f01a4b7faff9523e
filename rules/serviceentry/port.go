// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var portRule = &analysis.Rule{
	Name:     "serviceentry/port",
	Severity: analysis.Error,
	Doc: `ports must be permitted, wherever they are written

Ports that Istio and Kubernetes use themselves must not be opened: those of the
proxies and istiod (15000 to 15010, 15012, 15014, 15017, 15020, 15021, 15053,
15090), of kubelets (10250), etcd (2379, 2380) and API servers (6443). Where a
policy has ports.denied, these are denied too; where it has ports.allowed, all
others are.

The rule reads the number and the targetPort of every port, and the ports of every
endpoint: with 'number: 443, targetPort: 25' proxies connect to port 25.

Remove the port. An exemption may let a service entry through that needs one, such
as for another cluster's API server.`,
	Run: analysis.On(checkPort),
}

// isReserved reports whether Istio or Kubernetes uses the port
// (istio.io/latest/docs/ops/deployment/application-requirements, ports used by
// Istio; kubernetes.io/docs/reference/networking/ports-and-protocols).
func isReserved(number uint32) bool {
	switch number {
	case 15012, 15014, 15017, 15020, 15021, 15053, 15090, 10250, 2379, 2380, 6443:
		return true
	default:
		return number >= 15000 && number <= 15010
	}
}

func checkPort(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	allowed, denied := pass.Policy.AllowedPorts, pass.Policy.DeniedPorts
	unlisted := 0
	for _, p := range ports(se) {
		switch {
		case isReserved(p.number):
			pass.Report(field.Invalid(p.path, int(p.number), "must not be a port that Istio or Kubernetes uses itself; remove it"))
		case slices.Contains(denied, p.number):
			pass.Report(field.Invalid(p.path, int(p.number), "must not be a port that the EgressPolicy denies; remove it"))
		case len(allowed) > 0 && !slices.Contains(allowed, p.number) && unlisted < maxPortFindings:
			unlisted++
			pass.Report(field.Invalid(p.path, int(p.number), "must be a port on the list of the EgressPolicy; use one of these, or have it added to `ports.allowed`"))
		}
	}
}
