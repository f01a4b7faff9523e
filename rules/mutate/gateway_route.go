// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/lift"
	"github.com/sallyport-dev/sallyport/rules/internal/optout"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

var gatewayRoute = &analysis.Mutator{
	Name: lift.MutatorName,
	Doc: `lead routes to external hosts through the egress gateway

Where a policy's gateway has mode Inject or Require, a VirtualService that leads
out of the mesh is led through that gateway. All of its own routes are bound to
the gateway, which evaluates them as the sidecars did: matches, weights, rewrites,
redirects, headers, faults, mirrors, delegates, timeouts and retries, in their
order. In front of them is one route for the sidecars, for each HTTP, TLS and TCP
port that the ServiceEntries of the hosts declare, to the gateway's Service: else a
protocol without routes would go straight out. What was implicit is written down:
the ports of destinations, and exportTo with the gateway's namespace, which must
see the VirtualService and the ServiceEntry. Without exportTo a tenant's
VirtualService gets its own namespace and the gateway's.

Whatever an earlier application added is taken away first, so that applying the
original again, by whatever tool, comes to the same. Where there is no such policy
any more, the next write takes it away for good. Routes that a team has bound to the
gateway by hand, one for the mesh to its Service and others for the gateway, are led
in the same way, which completes what is missing; those stay when the policy goes.

Left as they are, with the reason in a warning of virtualservice/gateway-bypass, or
in its denial where the mode is Require: VirtualServices for wildcards, for hosts
that no ServiceEntry declares or that the gateway cannot resolve or does not see,
or that have several HTTP ports or several TLS ports, or TCP ports that the
configuration gives no port of the gateway; with destinations inside the mesh or in
subsets; with matches on the source or on other gateways; whose TLS would begin at
sidecars only; and for a host that another VirtualService has already, in the same
namespace or at the gateway. Hosts that hosts.allowed of the policy has with
'direct: true' are left alone, and so are namespaces of the ambient mesh.

In the mode Require, routes may come before the ServiceEntry, which is refused until
they are there; they are led on port 80 for HTTP and 443 for TLS then, or on the
ports that their matches name.

To opt out, annotate the object with sallyport.dev/inject: none, or with a list of
what shall be filled in, such as "timeout,retries". The annotation counts for nothing
where the policy's gateway or waypoint has mode Require.`,
	Reads: lift.Reads,
	Apply: slices.Concat(analysis.To(liftVirtualService), analysis.To(exportServiceEntry)),
}

var (
	specPath        = field.NewPath("spec")
	httpPath        = specPath.Child("http")
	tlsPath         = specPath.Child("tls")
	tcpPath         = specPath.Child("tcp")
	gatewaysPath    = specPath.Child("gateways")
	exportToPath    = specPath.Child("exportTo")
	annotationsPath = field.NewPath("metadata", "annotations")
	labelsPath      = field.NewPath("metadata", "labels")
)

func liftVirtualService(edit *analysis.Edit, vs *networkingv1.VirtualService) {
	pol := *edit.Policy
	if !optout.Wants(edit.Policy, edit.Mutator.Name, vs) {
		pol.Gateway.Mode = policy.ModeOff
	}
	draft, reason := lift.VirtualService(&lift.World{Policy: &pol, Config: edit.Config, Mesh: edit.Mesh, Await: edit.Await}, vs, func(r *networking.HTTPRoute) {
		if optout.Wants(edit.Policy, timeout.Name, vs) {
			fillTimeout(edit, vs, r)
		}
		if optout.Wants(edit.Policy, retries.Name, vs) {
			fillRetries(edit, r)
		}
	})
	if reason != "" {
		edit.Note("not led through the egress gateway: " + reason)
	}
	if draft == nil {
		return
	}
	recordRoutes(edit, httpPath, vs.Spec.GetHttp(), draft.Spec.GetHttp(), draft.HTTP)
	recordRoutes(edit, tlsPath, vs.Spec.GetTls(), draft.Spec.GetTls(), draft.TLS)
	recordRoutes(edit, tcpPath, vs.Spec.GetTcp(), draft.Spec.GetTcp(), draft.TCP)
	recordList(edit, gatewaysPath, vs.Spec.GetGateways(), draft.Spec.GetGateways())
	recordList(edit, exportToPath, vs.Spec.GetExportTo(), draft.Spec.GetExportTo())
	spec := &vs.Spec
	spec.Http, spec.Tls, spec.Tcp = draft.Spec.GetHttp(), draft.Spec.GetTls(), draft.Spec.GetTcp()
	spec.Gateways, spec.ExportTo = draft.Spec.GetGateways(), draft.Spec.GetExportTo()
	mark(edit, vs, draft.Mark)
	if draft.Lifted {
		edit.Summarize(fmt.Sprintf("leads the routes through the egress gateway '%s'", draft.Gateway.Name))
	} else {
		edit.Summarize("no longer leads the routes through an egress gateway")
	}
}

// mark sets or removes the annotation that tells that the object was lifted.
func mark(edit *analysis.Edit, vs *networkingv1.VirtualService, want string) {
	value, ok := vs.Annotations[lift.Annotation]
	switch {
	case want != "" && value != want:
		vs.Annotations = setKey(edit, annotationsPath, vs.Annotations, lift.Annotation, want)
	case want == "" && ok && len(vs.Annotations) == 1:
		vs.Annotations = nil
		edit.Remove(annotationsPath)
	case want == "" && ok:
		delete(vs.Annotations, lift.Annotation)
		edit.Remove(annotationsPath.Key(lift.Annotation))
	}
}

// recordRoutes records what makes the routes before those after. origins gives for
// each of the latter the index of the route that it was made of, or -1.
func recordRoutes[R proto.Message](edit *analysis.Edit, path *field.Path, before, after []R, origins []int) {
	switch {
	case len(after) == 0 && len(before) == 0:
		return
	case len(after) == 0:
		edit.Remove(path)
		return
	case len(before) == 0:
		all := make([]proto.Message, len(after))
		for i, r := range after {
			all[i] = r
		}
		edit.Set(path, all)
		return
	}
	origins = reuse(before, after, origins)
	for i := range slices.Backward(before) {
		if !slices.Contains(origins, i) {
			edit.Remove(path.Index(i))
		}
	}
	for i, r := range after {
		if origins[i] < 0 {
			edit.Insert(path.Index(i), r)
		} else {
			edit.Difference(path.Index(i), before[origins[i]], r)
		}
	}
}

// reuse finds origins for added routes that were there before just so.
func reuse[R proto.Message](before, after []R, origins []int) []int {
	origins = slices.Clone(origins)
	next := 0
	for i, origin := range origins {
		if origin >= 0 {
			next = origin + 1
			continue
		}
		for j := next; j < len(before) && !slices.Contains(origins, j); j++ {
			if proto.Equal(before[j], after[i]) {
				origins[i], next = j, j+1
				break
			}
		}
	}
	return origins
}

func recordList(edit *analysis.Edit, path *field.Path, before, after []string) {
	switch {
	case slices.Equal(before, after):
	case len(after) == 0:
		edit.Remove(path)
	case len(before) == 0:
		edit.Set(path, after)
	case len(after) > len(before) && slices.Equal(before, after[:len(before)]):
		for i := len(before); i < len(after); i++ {
			edit.Insert(path.Index(i), after[i])
		}
	default:
		edit.Replace(path, after)
	}
}

func exportServiceEntry(edit *analysis.Edit, se *networkingv1.ServiceEntry) {
	if !optout.Wants(edit.Policy, edit.Mutator.Name, se) {
		return
	}
	exportTo := lift.ServiceEntry(&lift.World{Policy: edit.Policy, Config: edit.Config, Mesh: edit.Mesh}, se)
	if exportTo == nil {
		return
	}
	recordList(edit, exportToPath, se.Spec.GetExportTo(), exportTo)
	se.Spec.ExportTo = exportTo
}
