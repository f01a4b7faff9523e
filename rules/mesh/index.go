// SPDX-License-Identifier: Apache-2.0

// Package mesh is the index of the objects that rules look up: what an
// [analysis.Mesh] answers. It is fed by watches in the server and by files in
// the command line, object by object and in any order.
package mesh

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/internal/host"
)

// An Index holds objects by what is asked about them. It is safe for concurrent
// use; the cost of a question or of a change does not grow with the number of
// objects. What it is given and what it returns must not be changed.
type Index struct {
	config *config.Configuration

	mu       sync.RWMutex
	entries  map[name]*networkingv1.ServiceEntry
	hosts    map[string]*providers // by host in normal form, wildcards included
	complete map[*analysis.Kind]bool
}

type name struct{ namespace, name string }

var _ analysis.Mesh = (*Index)(nil)

// New returns an empty index of a mesh about which nothing is complete.
func New(c *config.Configuration) *Index {
	return &Index{
		config:   c,
		entries:  map[name]*networkingv1.ServiceEntry{},
		hosts:    map[string]*providers{},
		complete: map[*analysis.Kind]bool{},
	}
}

// Set adds an object or replaces the one of its kind, namespace and name. Kinds
// that nothing asks about are ignored.
func (x *Index) Set(obj analysis.Object) {
	se, ok := obj.(*networkingv1.ServiceEntry)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key := name{se.GetNamespace(), se.GetName()}
	x.remove(key)
	x.entries[key] = se
	scope := x.scope(se)
	for _, h := range se.Spec.GetHosts() {
		h = host.Normal(h)
		p := x.hosts[h]
		if p == nil {
			p = new(providers)
			x.hosts[h] = p
		}
		p.add(se, scope)
	}
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
	se, ok := x.entries[key]
	if !ok {
		return
	}
	delete(x.entries, key)
	scope := x.scope(se)
	for _, h := range se.Spec.GetHosts() {
		h = host.Normal(h)
		if p := x.hosts[h]; p != nil && p.remove(se, scope) {
			delete(x.hosts, h)
		}
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

// ServiceEntry implements [analysis.Mesh]. The most specific host wins; of equal
// ones, an entry of the namespace itself, then the oldest that is visible there
// (istio.io/istio v1.31, pilot/pkg/model/sidecar.go). Partial wildcards such as
// "*foo.com" are not looked into: istiod takes them for DYNAMIC_DNS alone.
func (x *Index) ServiceEntry(namespace, h string) *networkingv1.ServiceEntry {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if se := x.hosts[h].best(namespace); se != nil {
		return se
	}
	for rest := h; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			return nil
		}
		if se := x.hosts["*."+parent].best(namespace); se != nil {
			return se
		}
		rest = parent
	}
}

// everywhere stands for all namespaces.
const everywhere = "*"

// scope returns the namespaces that see an entry, of which one may be
// [everywhere].
func (x *Index) scope(se *networkingv1.ServiceEntry) []string {
	public := []string{se.GetNamespace(), everywhere}
	if x.config.Mesh.DataPlane == config.DataPlaneAmbient {
		return public // ztunnel and waypoints do not look at exportTo
	}
	exportTo := se.Spec.GetExportTo()
	if len(exportTo) == 0 {
		exportTo = x.config.Mesh.DefaultExportTo.ServiceEntry
	}
	var scope []string
	for _, e := range exportTo {
		switch e {
		case everywhere:
			return public
		case "~":
			return nil
		case ".":
			scope = append(scope, se.GetNamespace())
		default:
			scope = append(scope, e)
		}
	}
	return scope
}

// providers are the entries that declare one host.
type providers struct {
	// declared counts the declarations, also those that nobody sees.
	declared int
	// own are the entries by their namespace, if they are seen there; seenBy
	// those of other namespaces, by who sees them. All lists are in order of
	// precedence.
	own, seenBy map[string][]*networkingv1.ServiceEntry
}

func (p *providers) add(se *networkingv1.ServiceEntry, scope []string) {
	if p.own == nil {
		p.own, p.seenBy = map[string][]*networkingv1.ServiceEntry{}, map[string][]*networkingv1.ServiceEntry{}
	}
	p.declared++
	for _, namespace := range scope {
		list := p.list(se, namespace)
		i, found := slices.BinarySearchFunc(list[namespace], se, byAge)
		if !found { // else the host stands twice in the entry
			list[namespace] = slices.Insert(list[namespace], i, se)
		}
	}
}

// remove undoes add and reports whether nothing is left.
func (p *providers) remove(se *networkingv1.ServiceEntry, scope []string) bool {
	p.declared--
	for _, namespace := range scope {
		list := p.list(se, namespace)
		i, found := slices.BinarySearchFunc(list[namespace], se, byAge)
		if !found {
			continue
		}
		if list[namespace] = slices.Delete(list[namespace], i, i+1); len(list[namespace]) == 0 {
			delete(list, namespace)
		}
	}
	return p.declared == 0
}

func (p *providers) list(se *networkingv1.ServiceEntry, namespace string) map[string][]*networkingv1.ServiceEntry {
	if namespace == se.GetNamespace() {
		return p.own
	}
	return p.seenBy
}

// best returns the entry that serves a namespace, or nil; p may be nil.
func (p *providers) best(namespace string) *networkingv1.ServiceEntry {
	if p == nil {
		return nil
	}
	if own := p.own[namespace]; len(own) > 0 {
		return own[0]
	}
	named, public := p.seenBy[namespace], p.seenBy[everywhere]
	switch {
	case len(named) == 0 && len(public) == 0:
		return nil
	case len(named) == 0:
		return public[0]
	case len(public) == 0 || byAge(named[0], public[0]) < 0:
		return named[0]
	default:
		return public[0]
	}
}

// byAge orders entries as istiod does: the oldest first, then by namespace and
// name, so that the order is the same whatever came first here.
func byAge(a, b *networkingv1.ServiceEntry) int {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Name, b.Name),
	)
}
