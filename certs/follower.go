// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

// A follower serves what somebody else issues: the newest certificate that is
// good, as soon as all callers trust it.
type follower struct {
	serving
	trust *trust
	// injects says that the CAs are put into the webhook configurations here.
	injects bool
	changes changes

	// served and held belong to the loop.
	served *issued
	held   *issued // what callers do not trust yet
}

func newFollower(opts Options, client kubernetes.Interface, validating, mutating string) (*follower, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if client == nil && validating+mutating != "" {
		return nil, errors.New("certificate: a client is required to watch webhook configurations")
	}
	// Whoever changes our objects as fast as we do must not make us a busy loop.
	const writesPerSecond, burst = 1, 20
	targets := &targets{writes: flowcontrol.NewTokenBucketRateLimiter(writesPerSecond, burst)}
	if validating != "" {
		targets.all = append(targets.all, validatingTarget(client, validating))
	}
	if mutating != "" {
		targets.all = append(targets.all, mutatingTarget(client, mutating))
	}
	return &follower{
		serving: serving{opts: opts}, trust: &trust{targets: targets}, changes: newChanges(),
	}, nil
}

// Healthy reports whether there is a certificate that is valid now, under all
// names, and that the webhook configurations make the API server trust, as far
// as they are known.
func (f *follower) Healthy() bool {
	cert, now := f.current.Load(), f.opts.Clock.Now()
	return cert != nil && (&issued{cert: cert}).check(f.opts.DNSNames, now) == nil &&
		f.trust.check(cert, f.opts.DNSNames, now) == nil
}

// Targets returns the state of the webhook configurations, as far as it is known.
// In it, Injected reports whether all webhooks trust the certificate that is served.
func (f *follower) Targets() []Target {
	var all []Target
	cert, now := f.current.Load(), f.opts.Clock.Now()
	for _, target := range f.trust.all {
		exists := target.known() != nil
		all = append(all, Target{
			Kind: target.kind, Name: target.name, Exists: exists,
			Injected: exists && cert != nil && f.trust.checkOne(target, cert, f.opts.DNSNames, now) == nil,
		})
	}
	return all
}

// offer serves next, unless what is served is good and callers might not trust
// next yet.
func (f *follower) offer(ctx context.Context, next *issued) error {
	now := f.opts.Clock.Now()
	if err := next.check(f.opts.DNSNames, now); err != nil {
		return fmt.Errorf("use the certificate: %w", err)
	}
	f.trust.named.Store(len(next.cas) > 0)
	var err error
	if f.injects {
		err = f.inject(ctx, next, now)
	}
	f.trust.look(now)
	log := logr.FromContextOrDiscard(ctx).WithValues(
		"serial", next.cert.Leaf.SerialNumber.Text(16), "notAfter", next.cert.Leaf.NotAfter)
	switch {
	case f.served.same(next):
		f.served = next // its CAs may be others
	case f.served.goodUntil(f.opts.DNSNames, now) && !f.trust.accepts(next.cert, f.opts.DNSNames, now, f.opts.periods.dwell):
		if !f.held.same(next) {
			log.Info("Holding back new certificate until it is trusted")
		}
		f.held = next
	default:
		f.served, f.held = next, nil
		f.current.Store(next.cert)
		log.Info("Changed certificate")
	}
	return err
}

// inject makes callers trust what is served as well as what is to be served.
func (f *follower) inject(ctx context.Context, next *issued, now time.Time) error {
	cas, longest := next.cas, life(next.cert.Leaf)
	if f.served != nil {
		cas = slices.Concat(cas, f.served.cas)
		longest = max(longest, life(f.served.cert.Leaf))
	}
	return f.trust.add(ctx, cas, now, longest)
}

// same reports whether both are the same certificate. There may be none.
func (i *issued) same(other *issued) bool {
	return i != nil && i.cert.Leaf.Equal(other.cert.Leaf)
}

// goodUntil reports whether there is a certificate and it need not be given up
// yet: that is an hour before it ends, or a tenth of its life if that is shorter.
func (i *issued) goodUntil(names []string, now time.Time) bool {
	if i == nil {
		return false
	}
	margin := min(time.Hour, life(i.cert.Leaf)/10)
	return i.check(names, now.Add(margin)) == nil
}

// informers returns those of the webhook configurations.
func (f *follower) informers() []cache.SharedIndexInformer {
	var informers []cache.SharedIndexInformer
	for _, t := range f.trust.all {
		informers = append(informers, t.informer)
	}
	return informers
}

// run watches by the informers, and calls reconcile whenever they or others
// notice a change, every period, and sooner again after an error, until ctx is
// done.
func (f *follower) run(ctx context.Context, period time.Duration, informers []cache.SharedIndexInformer, reconcile func(context.Context) error) error {
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { f.changes.notice() },
			UpdateFunc: func(any, any) { f.changes.notice() },
			DeleteFunc: func(any) { f.changes.notice() },
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
				f.changes.notice() // that there is no object is news as well
			case <-ctx.Done():
			}
		})
	}
	loop(ctx, f.opts.Clock.NewTicker(period), f.changes, reconcile)
	group.Wait()
	return nil
}
