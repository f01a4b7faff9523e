// SPDX-License-Identifier: Apache-2.0

package serviceentry

import (
	"fmt"
	"slices"
	"strings"

	"istio.io/api/label"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
	"github.com/sallyport-dev/sallyport/rules/internal/port"
)

var portCollision = &analysis.Rule{
	Name:     "serviceentry/port-collision",
	Severity: analysis.Warning,
	Doc: `two service entries must be told apart by the proxy

On a TCP port nothing but the address says which host a connection is for. Two
service entries without addresses and with the same TCP port share one listener,
and all connections go to the older one's host. Istio gives such a service entry
an address of its own, except with resolution NONE, for wildcards, and where the
label networking.istio.io/enable-autoallocate-ip is "false": these are warned about. (The address helps only where the proxy answers DNS, as in an
ambient mesh, or with DNS capture in sidecars. The rule cannot see that.)

The rule also warns if an older service entry has the same host and port with
another protocol, of which the older counts for both; and, in platform namespaces,
where serviceentry/host-owner does not apply, if a host's ports are split over
service entries of several namespaces, of which each client uses only one.

List addresses, use another port, or merge the service entries.`,
	Reads: []*analysis.Kind{analysis.ServiceEntry},
	Run:   analysis.On(checkPortCollision),
}

func checkPortCollision(pass *analysis.Pass, se *networkingv1.ServiceEntry) {
	path := portsPath
	for i, p := range se.Spec.GetPorts() {
		if len(se.Spec.GetAddresses()) > 0 || getsAddress(se) || !port.Parse(p.GetProtocol()).Nameless() {
			continue
		}
		older, _ := pass.Mesh.PortClaims(se, p.GetNumber())
		if j := slices.IndexFunc(older, func(o analysis.Object) bool { return !getsAddress(o.(*networkingv1.ServiceEntry)) }); j >= 0 {
			pass.Report(field.Invalid(path.Index(i).Child("number"), int(p.GetNumber()), fmt.Sprintf(
				"should not be the TCP port of ServiceEntry '%s/%s', which receives these connections too; list `addresses`, or use another port",
				older[j].GetNamespace(), older[j].GetName())))
		}
	}
	protocols := protocolsOf(se)
	for i, h := range se.Spec.GetHosts() {
		if older, _ := pass.Mesh.HostClaims(analysis.ServiceEntry, se, host.Normal(h)); !host.IsWildcard(h) {
			checkSameHost(pass, se, i, protocols, older)
		}
	}
	if !pass.Mesh.Complete(analysis.ServiceEntry) {
		pass.NotEvaluated("not all ServiceEntries are known that may have these hosts or ports")
	}
}

// checkSameHost compares the ports with those that older entries have for a host.
func checkSameHost(pass *analysis.Pass, se *networkingv1.ServiceEntry, index int, protocols map[uint32]portProtocol, older []analysis.Object) {
	for _, o := range older {
		other := o.(*networkingv1.ServiceEntry)
		name := other.GetNamespace() + "/" + other.GetName()
		if i, protocol := otherProtocol(protocols, other); i >= 0 {
			pass.Report(field.Invalid(portsPath.Index(i).Child("protocol"), se.Spec.GetPorts()[i].GetProtocol(), fmt.Sprintf(
				"should be '%s', as ServiceEntry '%s' has it for this host and port; the older one counts", protocol, name)))
			return
		}
		if pass.Config.IsPlatform(se.GetNamespace()) && other.GetNamespace() != se.GetNamespace() && !samePorts(se, other) {
			h := se.Spec.GetHosts()[index]
			pass.Report(field.Invalid(hostsPath.Index(index), h, fmt.Sprintf(
				"should not have ports here and others in ServiceEntry '%s', of which each client uses only one; merge them", name)))
			return
		}
	}
}

// getsAddress reports whether Istio allocates an address for each exact host of a
// ServiceEntry without addresses (istio.io/istio v1.31,
// pilot/pkg/networking/serviceentry/ip_autoallocation.go).
func getsAddress(se *networkingv1.ServiceEntry) bool {
	optedOut := strings.EqualFold(se.GetLabels()[label.NetworkingEnableAutoallocateIp.Name], "false")
	return se.Spec.GetResolution() != networking.ServiceEntry_NONE && !optedOut && !slices.ContainsFunc(se.Spec.GetHosts(), isWildcard)
}

// A portProtocol is the protocol of a port with an index.
type portProtocol struct {
	index    int
	protocol port.Protocol
}

func protocolsOf(se *networkingv1.ServiceEntry) map[uint32]portProtocol {
	protocols := make(map[uint32]portProtocol, len(se.Spec.GetPorts()))
	for i, p := range se.Spec.GetPorts() {
		protocols[p.GetNumber()] = portProtocol{i, port.Parse(p.GetProtocol())}
	}
	return protocols
}

// otherProtocol returns the index of a port for which other has another protocol,
// and that.
func otherProtocol(protocols map[uint32]portProtocol, other *networkingv1.ServiceEntry) (int, port.Protocol) {
	for _, p := range other.Spec.GetPorts() {
		own, ok := protocols[p.GetNumber()]
		if theirs := port.Parse(p.GetProtocol()); ok && own.protocol != theirs {
			return own.index, theirs
		}
	}
	return -1, ""
}

func samePorts(a, b *networkingv1.ServiceEntry) bool {
	numbers := func(se *networkingv1.ServiceEntry) []uint32 {
		var all []uint32
		for _, p := range se.Spec.GetPorts() {
			all = append(all, p.GetNumber())
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	return slices.Equal(numbers(a), numbers(b))
}
