// SPDX-License-Identifier: Apache-2.0

// Package mesh is the index of the objects that rules look up: what an
// [analysis.Mesh] answers. It is fed by watches in the server and by files in
// the command line, object by object and in any order.
package mesh

import (
	"sync"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// An Index holds objects by what is asked about them. It is safe for concurrent
// use; the cost of a question does not grow with the number of objects. What it
// is given and what it returns must not be changed.
type Index struct {
	config *config.Configuration

	mu       sync.RWMutex
	entries  map[name]declaration
	hosts    node
	complete map[*analysis.Kind]bool
}

type name struct{ namespace, name string }

// A declaration is what an entry said when it was set, lest a later change of
// the object tear the index apart.
type declaration struct {
	entry  *networkingv1.ServiceEntry
	hosts  []string
	scopes []scope
}

var _ analysis.Mesh = (*Index)(nil)

// New returns an empty index of a mesh about which nothing is complete.
func New(c *config.Configuration) *Index {
	return &Index{
		config:   c,
		entries:  map[name]declaration{},
		complete: map[*analysis.Kind]bool{},
	}
}

// Set adds an object or replaces the one of its kind, namespace and name. Kinds
// that nothing asks about are ignored. The object is kept as it is: to save
// memory, take its managedFields away before.
func (x *Index) Set(obj analysis.Object) {
	se, ok := obj.(*networkingv1.ServiceEntry)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key := name{se.GetNamespace(), se.GetName()}
	x.remove(key)
	d := declaration{entry: se, scopes: x.scopes(se)}
	for _, h := range se.Spec.GetHosts() {
		h = host.Normal(h)
		d.hosts = append(d.hosts, h)
		x.hosts.change(h, func(p *providers) { p.add(se, d.scopes) })
	}
	x.entries[key] = d
}

// Delete removes an object, if it is there.
func (x *Index) Delete(kind *analysis.Kind, namespace, objectName string) {
	if kind != analysis.ServiceEntry {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(name{namespace, objectName})
}

func (x *Index) remove(key name) {
	d, ok := x.entries[key]
	if !ok {
		return
	}
	delete(x.entries, key)
	for _, h := range d.hosts {
		x.hosts.change(h, func(p *providers) { p.remove(d.entry, d.scopes) })
	}
}

// SetComplete says that all objects of the kinds are in the index now.
func (x *Index) SetComplete(kinds ...*analysis.Kind) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range kinds {
		x.complete[k] = true
	}
}

// Complete implements [analysis.Mesh].
func (x *Index) Complete(kind *analysis.Kind) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.complete[kind]
}

// ServiceEntry implements [analysis.Mesh]. The most specific host that somebody
// in the namespace sees wins: the name itself, then the longest wildcard. Who
// provides one host is settled as istiod does.
func (x *Index) ServiceEntry(namespace, h string) *networkingv1.ServiceEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.hosts.find(h, namespace)
}

// scopes returns who sees an entry, and as what.
func (x *Index) scopes(se *networkingv1.ServiceEntry) []scope {
	own := se.GetNamespace()
	public := []scope{{ownPublic, own}, {othersPublic, ""}}
	if x.config.Mesh.DataPlane == config.DataPlaneAmbient {
		return public // ztunnel and waypoints do not look at exportTo
	}
	exportTo := se.Spec.GetExportTo()
	if len(exportTo) == 0 {
		exportTo = x.config.Mesh.DefaultExportTo.ServiceEntry
	}
	var scopes []scope
	for _, e := range exportTo {
		switch e {
		case "*":
			return public
		case "~":
			return nil
		case ".", own:
			scopes = append(scopes, scope{ownPrivate, own})
		default:
			scopes = append(scopes, scope{othersNamed, e})
		}
	}
	return scopes
}
