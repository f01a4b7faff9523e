// SPDX-License-Identifier: Apache-2.0

// Package dataplane proves what routes do. Istio's own control plane runs in the
// tests and makes the listeners, routes and clusters that it would send to a
// sidecar and to an egress gateway; requests are then followed through these, hop
// by hop.
//
// A world is one file in testdata: a txtar archive whose comment says what it
// shows. Its sections, of which only the last two must be there:
//
//	config.yaml    the Configuration of Sallyport
//	policy.yaml    EgressPolicies and Namespaces
//	mesh.yaml      what MeshConfig has that is not its default
//	services.yaml  the Services of the gateways
//	platform       files of deploy/platform, by default gateway.yaml
//	platform.yaml  more objects of the platform, which Sallyport is not asked about
//	after.yaml     objects as they must be stored
//	admission      what Sallyport says of objects, one a line
//	dangling       clusters that routes name and that there are not, without Sallyport
//	dangling-today the same with Sallyport, where it does not repair that
//	objects.yaml   what teams apply, in this order
//	calls          who calls what, and where it goes
//
// What config.yaml, policy.yaml and services.yaml have by default is in
// testdata/default; mesh.yaml adds to Istio's own defaults.
//
// A line of admission is "Kind/namespace/name: denied rule, rule" or the same with
// "warned". Whatever is denied must stand there, and so must every warning of
// virtualservice/gateway-bypass about a VirtualService: it tells which traffic goes
// past the gateway.
//
// A call is a line such as
//
//	shop{app=web} https://api.example.com:8443/v1 x-beta=1 sni=api.example.com
//
// of the namespace of the client, its labels, an address whose scheme is http, grpc,
// https, tls or tcp, and headers. "sni=" and "ip=" are no headers but the TLS server
// name and the address of the connection; "method=" is the method. Two lines below
// it say where it goes without Sallyport, and with it:
//
//	without: direct outbound|80||api.example.com
//	with:    gateway -> outbound|80||api.example.com (timeout 3s)
//
// A third line, "today:", says where it still goes with Sallyport, if that is not where
// it should. It fails as soon as it is no longer true.
//
// In each world everything that istiod makes must be valid, routes must lead to
// clusters that exist, and no route of a sidecar may lead out but those that a line
// "with:" calls direct. Only lines "today:" excuse from the last.
package dataplane
