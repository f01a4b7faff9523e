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
)

// An Index holds objects by what is asked about them. It is safe for concurrent
// use; the cost of a question does not grow with the number of objects. What it
// is given and what it returns must not be changed.
type Index struct {
	config *config.Configuration

	mu       sync.RWMutex
	complete map[*analysis.Kind]bool
	// objects are what is in the index, by kind and name.
	objects map[*analysis.Kind]map[name]declaration

	serviceEntries  node[*networkingv1.ServiceEntry]
	virtualServices node[*networkingv1.VirtualService]
	// destinationRules are by namespace.
	destinationRules map[string]*node[*networkingv1.DestinationRule]
	policies         policies
	gateways         gateways

	hostClaims    map[*analysis.Kind]*claims
	portClaims    *claims
	addressClaims map[*analysis.Kind]*addresses
}

type name struct{ namespace, name string }

var _ analysis.Mesh = (*Index)(nil)

// New returns an empty index of a mesh about which nothing is complete.
func New(c *config.Configuration) *Index {
	return &Index{
		config:           c,
		complete:         map[*analysis.Kind]bool{},
		objects:          map[*analysis.Kind]map[name]declaration{},
		destinationRules: map[string]*node[*networkingv1.DestinationRule]{},
		policies:         policies{},
		gateways:         gateways{},
		hostClaims:       map[*analysis.Kind]*claims{analysis.ServiceEntry: newClaims(), analysis.VirtualService: newClaims()},
		portClaims:       newClaims(),
		addressClaims:    map[*analysis.Kind]*addresses{analysis.ServiceEntry: newAddresses(), analysis.Service: newAddresses()},
	}
}

// Set adds an object or replaces the one of its kind, namespace and name. The
// object is kept as it is: to save memory, take its managedFields away before.
func (x *Index) Set(obj analysis.Object) {
	kind := analysis.KindOf(obj)
	if kind == nil {
		return
	}
	d := x.declare(obj)
	key := name{obj.GetNamespace(), obj.GetName()}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(kind, key)
	if x.objects[kind] == nil {
		x.objects[kind] = map[name]declaration{}
	}
	x.objects[kind][key] = d
	x.apply(&d, true)
}

// Delete removes an object, if it is there.
func (x *Index) Delete(kind *analysis.Kind, namespace, objectName string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(kind, name{namespace, objectName})
}

func (x *Index) remove(kind *analysis.Kind, key name) {
	if d, ok := x.objects[kind][key]; ok {
		delete(x.objects[kind], key)
		x.apply(&d, false)
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

// Object implements [analysis.Mesh].
func (x *Index) Object(kind *analysis.Kind, namespace, objectName string) analysis.Object {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.objects[kind][name{namespace, objectName}].object
}
