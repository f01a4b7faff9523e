// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/cidr"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

var openProxy = &analysis.Rule{
	Name:     "serviceentry/open-proxy",
	Severity: analysis.Error,
	Doc: `service entries must not open a port to every address

With resolution NONE, the default, the proxy connects to the address that the
client asked for. On ports with HTTP or TLS it at least compares the host with
what the client says. On other ports nothing names a host: istiod makes a
listener on 0.0.0.0 that forwards to any address, and the hosts are ignored.
A port without a protocol may carry such traffic too. What looks like one
database then is a way out to everyone, for all workloads that see the service
entry, whatever its location.

The rule looks at resolution NONE or none, without addresses, for ports whose
protocol is neither HTTP, HTTP2, HTTP_PROXY, GRPC, GRPC-Web, HTTPS nor TLS. An
address of 0.0.0.0 with any prefix length, or "::", is none: istiod drops it
from the match of the listener. UDP ports are passed over, since istiod makes
no listener of them.

Use resolution DNS, list the addresses of the destination, or declare the
protocol if it is HTTP or TLS after all.`,
	Run: analysis.On(checkOpenProxy),
}

func checkOpenProxy(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	if se.Spec.GetResolution() != networking.ServiceEntry_NONE {
		return
	}
	addresses := se.Spec.GetAddresses()
	if len(addresses) > 0 && !slices.ContainsFunc(addresses, isUnspecified) {
		return
	}
	path := portsPath
	for i, p := range se.Spec.GetPorts() {
		protocol := port.Parse(p.GetProtocol())
		if !protocol.Nameless() {
			continue
		}
		detail := "must not be open to every address: with resolution NONE, hosts are ignored on this port; use `resolution: DNS` or list `addresses`"
		switch {
		case len(addresses) > 0:
			detail = "must not be open to every address, which is what '0.0.0.0' or '::' in `addresses` means; list the real addresses or use `resolution: DNS`"
		case protocol == port.Sniffed:
			detail = "must not be open to every address: with resolution NONE and no protocol, hosts may be ignored on this port; set `protocol` to HTTP or TLS, or use `resolution: DNS`"
		}
		pass.Report(field.Invalid(path.Index(i), fmt.Sprintf("%d/%s", p.GetNumber(), protocol), detail))
	}
}

// isUnspecified reports whether istiod matches every address for this one
// (pilot/pkg/networking/core/listener.go in istio.io/istio v1.31): it compares
// the address in front of the slash with 0.0.0.0 and ignores the length.
func isUnspecified(address string) bool {
	addr, length, isRange := strings.Cut(address, "/")
	a, ok := cidr.ParseAddr(addr)
	return ok && a.IsUnspecified() && (a.Is4() || !isRange || length == "128")
}
