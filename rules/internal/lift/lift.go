// SPDX-License-Identifier: Apache-2.0

// Package lift leads the routes of a VirtualService through an egress gateway.
//
// All of its own routes are lifted: bound to the gateway, where they are evaluated
// once, in their order, with their matches, weights, rewrites, faults and timeouts.
// For the mesh there is one leg for each port, in front, to the gateway's Service.
// So nothing that the routes say is done twice, and none of it goes past the
// gateway.
//
// Lifting takes away first what an earlier lift has added, so that it comes to the
// same from an object as a user wrote it, from one that is lifted, and from what is
// left of one when somebody applies the original again: webhooks' additions beside
// the lists stay then, and the lists do not.
package lift

import (
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/route"
	"github.com/sallyport-dev/sallyport/rules/internal/waypoint"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

const (
	// MutatorName is that of the mutator that lifts.
	MutatorName = "mutate/gateway-route"
	// Annotation tells that an object was lifted: of routes without names nothing
	// else tells it from one that somebody wrote so.
	Annotation = "sallyport.dev/injected"
	// Version is the value of [Annotation], and ByHand that of one that was bound to
	// the gateway by hand before. Such routes are not taken away again.
	Version = "v1"
	// ByHand is described with [Version].
	ByHand = "by-hand"
	// NamePrefix begins the names of all HTTP routes that are added.
	NamePrefix = "sallyport-"

	meshLegPrefix   = NamePrefix + "mesh-"
	generatedPrefix = NamePrefix + "gateway-"
)

// A World is all that lifting depends on besides the object.
type World struct {
	Policy *policy.Policy
	Config *config.Configuration
	Mesh   analysis.Mesh
	// Await is called if only an object is missing that may have been created a
	// moment ago. // optional
	Await func()
}

func (w *World) await() {
	if w.Await != nil {
		w.Await()
	}
}

// Reads are the kinds of objects that are looked up in the mesh.
var Reads = []*analysis.Kind{
	analysis.ServiceEntry, analysis.VirtualService, analysis.DestinationRule, analysis.Gateway, analysis.Namespace,
}

// gateway returns the egress gateway of the policy, or nil if it has none or if the
// configuration does not know it.
func (w *World) gateway() *config.EgressGateway {
	if w.Policy.Gateway.Mode == policy.ModeOff {
		return nil
	}
	for i := range w.Config.Mesh.EgressGateways {
		if g := &w.Config.Mesh.EgressGateways[i]; g.Name == w.Policy.Gateway.Name {
			return g
		}
	}
	return nil
}

// isAmbient reports whether waypoints, not sidecars, handle a namespace's traffic.
func (w *World) isAmbient(namespace string) bool {
	return waypoint.IsAmbient(w.Config, w.Mesh.Object(analysis.Namespace, "", namespace))
}

// A Draft is what a VirtualService shall be.
type Draft struct {
	Spec *networking.VirtualService
	// HTTP, TLS and TCP give for each route of Spec the index of the route of the
	// object that it was made of, or -1 for one that was added.
	HTTP, TLS, TCP []int
	// Lifted is set if the routes are led through Gateway.
	Lifted  bool
	Gateway *config.EgressGateway
	// Mark is the value of [Annotation] that the object shall have, or empty.
	Mark string

	// http and tls are the ports of legs for the mesh that were there; 0 if none was.
	http, tls uint32
}

// VirtualService returns what a VirtualService shall be, or nil if that is what it
// is; and if it cannot be led through the gateway of the policy, the reason. It does
// not change the object. fill, which may be nil, completes the HTTP routes that are
// added where the object has none.
func VirtualService(w *World, vs *networkingv1.VirtualService, fill func(*networking.HTTPRoute)) (*Draft, string) {
	reason := ""
	if g := w.gateway(); g != nil {
		p := newPlan(w, g, vs)
		if p.concerned && p.reason == "" {
			return p.lift(fill), ""
		}
		reason = p.reason
	}
	// Without the gateways of one that is for gateways alone the mesh would use it; and
	// what leads to a gateway that is not configured any more cannot be told apart.
	if originOf(w.Config, vs) == lifted && route.AppliesToMesh(vs) && !leadsElsewhere(w.Config, vs) {
		d := strip(w.Config, vs)
		d.dropIdentities(d.tls)
		return d, reason
	}
	return nil, reason
}

// Reason says why a VirtualService cannot be led through the gateway of the policy.
// It is empty if it can be, or if there is nothing to lead.
func Reason(w *World, vs *networkingv1.VirtualService) string {
	g := w.gateway()
	if g == nil {
		return ""
	}
	return newPlan(w, g, vs).reason
}

func (p *plan) lift(fill func(*networking.HTTPRoute)) *Draft {
	p.liftHTTP(fill)
	p.liftTLS()
	p.liftTCP()
	p.draft.Spec.Gateways = p.gateways()
	p.draft.Spec.ExportTo = p.exportTo
	p.draft.Lifted, p.draft.Gateway, p.draft.Mark = true, p.gateway, Version
	if p.origin == byHand {
		p.draft.Mark = ByHand
	}
	return p.draft
}

// gateways returns the mesh and the Gateways that the routes are bound to.
func (p *plan) gateways() []string {
	list := []string{route.Mesh}
	add := func(name string) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	if p.http != 0 || p.tls != 0 {
		add(p.gateway.Gateway)
	}
	for _, t := range p.tcp {
		add(t.Gateway)
	}
	return list
}
