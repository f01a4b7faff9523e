// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// A PolicyFeed gives the effective policies of namespaces as EgressPolicies and
// EgressExemptions in the cluster say, and writes into their status what it made
// of them. It is safe for concurrent use.
//
// An object that is not valid changes nothing: its last valid generation remains
// in force.
type PolicyFeed struct {
	cache  cache.Cache
	index  *mesh.Index
	status *statusWriter
	config *config.Configuration
	log    logr.Logger

	metrics *policyMetrics
	// compiled may be nil.
	compiled func(*policy.Set)

	// set is nil until all objects have been read once.
	set     atomic.Pointer[policy.Set]
	changed chan struct{}

	// valid are the last valid generations by name, of one goroutine.
	policies   map[string]*v1alpha1.EgressPolicy
	exemptions map[string]*v1alpha1.EgressExemption
	// versions are those in the set.
	versions map[version]bool
	// generation is nil until there is a set.
	generation atomic.Pointer[float64]
}

// Generation returns a number for the policies, exemptions and Configuration in force,
// which is equal in replicas that judge alike; empty as long as there is none.
func (f *PolicyFeed) Generation() string {
	number := f.generation.Load()
	if number == nil {
		return ""
	}
	return strconv.FormatFloat(*number, 'f', 0, 64)
}

// PolicyFeedOptions are what a [PolicyFeed] needs.
type PolicyFeedOptions struct {
	// Cache is where objects are read, and Client how their status is written.
	Cache  cache.Cache
	Client client.Client
	// Index knows the labels of namespaces, if a [MeshFeed] feeds it with them.
	Index *mesh.Index
	// Events are told of objects that are not valid.
	Events EventRecorder
	// Config are the facts by which policies are read.
	Config *config.Configuration
	// Compiled is told of policies that come into force. It must not block. // optional
	Compiled func(*policy.Set)
	// Registry gets the metrics.
	Registry prometheus.Registerer
	Log      logr.Logger
}

// NewPolicyFeed returns a feed that knows nothing until it runs.
func NewPolicyFeed(opts PolicyFeedOptions) *PolicyFeed {
	return &PolicyFeed{
		cache: opts.Cache, index: opts.Index, config: opts.Config, log: opts.Log, compiled: opts.Compiled,
		metrics:    newPolicyMetrics(opts.Registry, time.Now),
		status:     &statusWriter{cache: opts.Cache, client: opts.Client, events: opts.Events, log: opts.Log, wake: make(chan struct{}, 1)},
		changed:    make(chan struct{}, 1),
		policies:   map[string]*v1alpha1.EgressPolicy{},
		exemptions: map[string]*v1alpha1.EgressExemption{},
	}
}

// The wait for a namespace that is not known yet: it has been made a moment ago,
// since the API server asks about no other.
const (
	namespaceWait = 500 * time.Millisecond
	namespacePoll = 5 * time.Millisecond
)

// For implements [Policies]. Of a namespace that remains unknown it returns nil:
// its labels decide which policies apply.
func (f *PolicyFeed) For(namespace string) *policy.Policy {
	set := f.set.Load()
	if set == nil {
		return nil
	}
	for waited := time.Duration(0); ; waited += namespacePoll {
		if ns := f.index.Object(analysis.Namespace, "", namespace); ns != nil {
			return set.For(namespace, ns.GetLabels())
		}
		if waited >= namespaceWait {
			return nil
		}
		time.Sleep(namespacePoll)
	}
}

// Ready returns an error until policies are in force.
func (f *PolicyFeed) Ready(context.Context) error {
	if f.set.Load() == nil {
		return errors.New("the policies are not read yet")
	}
	return nil
}

// Run keeps policies and status up to date until ctx is done.
func (f *PolicyFeed) Run(ctx context.Context) error {
	var synced []toolscache.InformerSynced
	for _, obj := range []client.Object{&v1alpha1.EgressPolicy{}, &v1alpha1.EgressExemption{}, &corev1.Namespace{}} {
		informer, err := f.cache.GetInformer(ctx, obj)
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}
		notify := f.notify
		if _, ok := obj.(*corev1.Namespace); ok {
			notify = f.status.notify
		}
		registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			UpdateFunc: func(any, any) { notify() },
			DeleteFunc: func(any) { notify() },
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}
		synced = append(synced, registration.HasSynced)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
		return ctx.Err()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.compileOnChange(ctx) })
	group.Go(func() error { return f.status.run(ctx) })
	return group.Wait()
}

func (f *PolicyFeed) notify() { wake(f.changed) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody is about to look anyway
	}
}

// settle is how long to wait for further changes, as of "kubectl apply" of many
// files.
const settle = 20 * time.Millisecond

func (f *PolicyFeed) compileOnChange(ctx context.Context) error {
	for {
		if err := f.compile(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.changed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
	}
}

// compile puts what is valid in force.
func (f *PolicyFeed) compile(ctx context.Context) error {
	var policies v1alpha1.EgressPolicyList
	var exemptions v1alpha1.EgressExemptionList
	if err := errors.Join(f.cache.List(ctx, &policies), f.cache.List(ctx, &exemptions)); err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	state := &policyState{
		policies:   judge(f.policies, pointers(policies.Items), policy.CheckPolicy),
		exemptions: judge(f.exemptions, pointers(exemptions.Items), policy.CheckExemption),
	}
	if versions := versionsOf(f.policies, f.exemptions); f.set.Load() == nil || !maps.Equal(versions, f.versions) {
		set, err := policy.Compile(slices.Collect(maps.Values(f.policies)), slices.Collect(maps.Values(f.exemptions)))
		if err != nil {
			return fmt.Errorf("compile valid policies: %w", err)
		}
		f.set.Store(set)
		if f.compiled != nil {
			f.compiled(set)
		}
		f.versions = versions
		if err := f.tell(); err != nil {
			return err
		}
		f.log.V(1).Info("Compiled policies", "policies", len(f.policies), "exemptions", len(f.exemptions))
	}
	count(f.metrics.counts, "EgressPolicy", state.policies)
	count(f.metrics.counts, "EgressExemption", state.exemptions)
	f.status.state.Store(state)
	f.status.notify()
	return nil
}

// tell tells the metrics of what has come into force.
func (f *PolicyFeed) tell() error {
	number, err := fingerprint(f.versions, f.config)
	if err != nil {
		return err
	}
	f.generation.Store(&number)
	f.metrics.generation.WithLabelValues().Set(number)
	f.metrics.exemptions.set(f.exemptions)
	return nil
}

// A version is a generation of an object, which a change of its status alone does
// not alter. An object that is made anew begins with the first.
type version struct {
	uid        types.UID
	generation int64
}

func versionsOf(policies map[string]*v1alpha1.EgressPolicy, exemptions map[string]*v1alpha1.EgressExemption) map[version]bool {
	versions := make(map[version]bool, len(policies)+len(exemptions))
	for _, p := range policies {
		versions[version{p.UID, p.Generation}] = true
	}
	for _, e := range exemptions {
		versions[version{e.UID, e.Generation}] = true
	}
	return versions
}

// judged is an object in its newest generation and what became of it.
type judged[T client.Object] struct {
	object T
	// err is what is wrong with the newest generation, or nil.
	err error
	// inForce is the generation in force, or 0 if none is.
	inForce int64
}

// judge brings valid, which holds the newest valid generation of each object by
// name, up to date.
func judge[T client.Object](valid map[string]T, objects []T, check func(T) error) []judged[T] {
	result := make([]judged[T], 0, len(objects))
	exists := make(map[string]bool, len(objects))
	for _, o := range objects {
		exists[o.GetName()] = true
		j := judged[T]{object: o, err: check(o)}
		if j.err == nil {
			valid[o.GetName()] = o
		}
		if inForce, ok := valid[o.GetName()]; ok {
			j.inForce = inForce.GetGeneration()
		}
		result = append(result, j)
	}
	maps.DeleteFunc(valid, func(name string, _ T) bool { return !exists[name] })
	return result
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}
