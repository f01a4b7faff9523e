// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/mesh"
)

// A MeshFeed keeps an index of the mesh like the cluster, by watching the kinds
// that rules and mutators read.
type MeshFeed struct {
	cache  cache.Cache
	index  *mesh.Index
	kinds  []*analysis.Kind
	synced atomic.Bool
}

// NewMeshFeed returns a feed of the kinds from the cache into the index.
func NewMeshFeed(c cache.Cache, index *mesh.Index, kinds []*analysis.Kind) *MeshFeed {
	return &MeshFeed{cache: c, index: index, kinds: kinds}
}

// Run feeds the index until ctx is done.
func (f *MeshFeed) Run(ctx context.Context) error {
	group, watching := errgroup.WithContext(ctx)
	for _, kind := range f.kinds {
		group.Go(func() error {
			if err := f.watch(watching, kind); err != nil {
				return fmt.Errorf("watch %s: %w", kind.Resource, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	f.synced.Store(true)
	<-ctx.Done()
	return nil
}

// Ready returns an error until all kinds have been read once.
func (f *MeshFeed) Ready(context.Context) error {
	if !f.synced.Load() {
		return errors.New("the mesh is not read yet")
	}
	return nil
}

// watch returns when all objects of the kind that there are, are in the index.
func (f *MeshFeed) watch(ctx context.Context, kind *analysis.Kind) error {
	informer, err := f.cache.GetInformer(ctx, kind.New().(client.Object))
	if err != nil {
		return err
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { f.index.Set(obj.(analysis.Object)) },
		UpdateFunc: func(_, obj any) { f.index.Set(obj.(analysis.Object)) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if o, ok := obj.(analysis.Object); ok {
				f.index.Delete(kind, o.GetNamespace(), o.GetName())
			}
		},
	})
	if err != nil {
		return err
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return ctx.Err()
	}
	f.index.SetComplete(kind)
	return nil
}
