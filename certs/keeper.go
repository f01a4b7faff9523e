// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// A keeper is what the sources in a cluster have in common: they look at
// everything whenever something changes, and tell what they find.
type keeper struct {
	serving
	targets *targets
	meter   *skewMeter
	metrics *metrics
	changes changes
	// about is the object that events are about.
	about corev1.ObjectReference

	// These are of Start alone: when clocks were compared, whether they differed
	// too much, and why the last attempt failed.
	compared time.Time
	skewed   bool
	failing  string
}

func newKeeper(client kubernetes.Interface, opts Options, validating, mutating string) (*keeper, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if client == nil && validating+mutating != "" {
		return nil, errors.New("certificate: a client is required to watch webhook configurations")
	}
	counts := newMetrics(opts.Registerer)
	return &keeper{
		serving: serving{opts: opts},
		targets: newTargets(client, validating, mutating, counts),
		meter:   &skewMeter{client: client, clock: opts.Clock},
		metrics: counts,
		changes: newChanges(),
	}, nil
}

// informers returns those of the webhook configurations.
func (k *keeper) informers() []cache.SharedIndexInformer {
	var informers []cache.SharedIndexInformer
	for _, t := range k.targets.all {
		informers = append(informers, t.informer)
	}
	return informers
}

// A reconciler brings everything together, and says how it is.
type reconciler interface {
	reconcile(ctx context.Context) error
	Status() *Status
}

// run watches by the informers, and calls the reconciler whenever they or others
// notice a change, every period, and sooner again after an error, until ctx is
// done.
func (k *keeper) run(ctx context.Context, period time.Duration, informers []cache.SharedIndexInformer, r reconciler) error {
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { k.changes.notice() },
			UpdateFunc: func(any, any) { k.changes.notice() },
			DeleteFunc: func(any) { k.changes.notice() },
		}); err != nil {
			return fmt.Errorf("watch for certificates: %w", err)
		}
	}
	var group sync.WaitGroup
	for _, informer := range informers {
		group.Go(func() { informer.RunWithContext(ctx) })
		group.Go(func() {
			select {
			case <-informer.HasSyncedChecker().Done():
				k.changes.notice() // that there is no object is news as well
			case <-ctx.Done():
			}
		})
	}
	loop(ctx, k.opts.Clock.NewTicker(period), k.changes, func(ctx context.Context) error { return k.attend(ctx, r) })
	group.Wait()
	return nil
}

// attend calls the reconciler, and tells what came of it.
func (k *keeper) attend(ctx context.Context, r reconciler) error {
	err := r.reconcile(ctx)
	if ctx.Err() != nil {
		return err
	}
	k.metrics.observe(r.Status())
	k.compareClocks(ctx)
	reason := ""
	if err != nil {
		reason = reasonOf(err)
		k.metrics.errors.WithLabelValues(reason).Inc()
		if reason != k.failing && reason != reasonConflict {
			k.event(corev1.EventTypeWarning, "CertificateError", err.Error())
		}
	}
	k.failing = reason
	return err
}

// compareClocks does so once a minute, and tells of what it has found if that is
// new.
func (k *keeper) compareClocks(ctx context.Context) {
	now := k.opts.Clock.Now()
	if !k.compared.IsZero() && now.Sub(k.compared).Abs() < time.Minute {
		return
	}
	skew, err := k.meter.measure(ctx)
	if err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Could not compare the clock with the API server's", "err", err.Error())
		return
	}
	k.compared = now
	skewed := skew.Abs() > maxSkew
	if skewed == k.skewed {
		return
	}
	k.skewed = skewed
	logr.FromContextOrDiscard(ctx).Info("Compared the clock with the API server's", "skew", skew.String(), "tooMuch", skewed)
	if skewed {
		k.event(corev1.EventTypeWarning, "ClockSkew", describeSkew(skew)+": certificates may seem to have ended or not to have begun, and no CA is rotated")
	}
	k.changes.notice()
}

// event tells those who look at the object that certificates are about.
func (k *keeper) event(kind, reason, message string) {
	if k.opts.Events != nil && k.about.Name != "" {
		about := k.about
		k.opts.Events.Event(&about, kind, reason, message)
	}
}
