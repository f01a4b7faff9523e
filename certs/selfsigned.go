// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

// SelfSignedOptions say where a [SelfSigned] keeps its CA and who shall trust it.
type SelfSignedOptions struct {
	Options
	// Namespace and Secret name the Secret. The replicas of a server name the
	// same one, servers that are no replicas of each other do not.
	Namespace, Secret string
	// ValidatingConfiguration and MutatingConfiguration name the webhook
	// configurations that get the CA in all their webhooks. They may be created
	// later. Empty is none. // optional
	ValidatingConfiguration, MutatingConfiguration string
}

// SelfSigned is a [Source] with a CA of its own that all replicas share. Use
// [NewSelfSigned]. Its methods may be called at any time.
type SelfSigned struct {
	serving
	secret  *secretStore
	targets *targets
	bundle  atomic.Pointer[[]byte]
	changes chan struct{}
}

var _ Source = (*SelfSigned)(nil)

// NewSelfSigned returns a source that has no certificate before it is started.
func NewSelfSigned(client kubernetes.Interface, opts SelfSignedOptions) (*SelfSigned, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	if opts.Namespace == "" || opts.Secret == "" {
		return nil, errors.New("certificate: the namespace and the name of a Secret are required")
	}
	// Whoever changes our objects as fast as we do must not make us a busy loop.
	const writesPerSecond, burst = 1, 20
	writes := flowcontrol.NewTokenBucketRateLimiter(writesPerSecond, burst)
	s := &SelfSigned{
		serving: serving{opts: opts.Options},
		secret: &secretStore{
			client: client, namespace: opts.Namespace, name: opts.Secret, writes: writes, opts: opts.Options,
			informer: corev1informers.NewFilteredSecretInformer(client, opts.Namespace, 0, nil, only(opts.Secret)),
		},
		targets: &targets{writes: writes},
		changes: make(chan struct{}, 1),
	}
	if name := opts.ValidatingConfiguration; name != "" {
		s.targets.all = append(s.targets.all, validatingTarget(client, name))
	}
	if name := opts.MutatingConfiguration; name != "" {
		s.targets.all = append(s.targets.all, mutatingTarget(client, name))
	}
	return s, s.observe()
}

// only limits a watch to the object of a name.
func only(name string) func(*metav1.ListOptions) {
	return func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

func (s *SelfSigned) informers() []cache.SharedIndexInformer {
	informers := []cache.SharedIndexInformer{s.secret.informer}
	for _, t := range s.targets.all {
		informers = append(informers, t.informer)
	}
	return informers
}

func (s *SelfSigned) observe() error {
	for _, informer := range s.informers() {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { s.changed() },
			UpdateFunc: func(any, any) { s.changed() },
			DeleteFunc: func(any) { s.changed() },
		}); err != nil {
			return fmt.Errorf("watch for certificates: %w", err)
		}
	}
	return nil
}

// changed makes Start look at everything again.
func (s *SelfSigned) changed() {
	select {
	case s.changes <- struct{}{}:
	default: // it will, anyway
	}
}

// CABundle returns, in PEM, the CAs that clients shall trust; nil if none is
// known yet.
func (s *SelfSigned) CABundle() []byte {
	if bundle := s.bundle.Load(); bundle != nil {
		return *bundle
	}
	return nil
}

// Targets returns the state of the webhook configurations, as far as it is known.
func (s *SelfSigned) Targets() []Target {
	var all []Target
	for _, t := range s.targets.all {
		all = append(all, t.status(s.CABundle()))
	}
	return all
}

// Start keeps Secret, webhook configurations and certificate up to date until
// ctx is done.
func (s *SelfSigned) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for _, informer := range s.informers() {
		group.Go(func() { informer.RunWithContext(ctx) })
		group.Go(func() {
			select {
			case <-informer.HasSyncedChecker().Done():
				s.changed() // that there is no object is news as well
			case <-ctx.Done():
			}
		})
	}
	s.loop(ctx)
	group.Wait()
	return nil
}

func (s *SelfSigned) loop(ctx context.Context) {
	log := logr.FromContextOrDiscard(ctx)
	ticker := s.opts.Clock.NewTicker(tick)
	defer ticker.Stop()
	var retry <-chan time.Time
	backoff := newBackoff()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changes:
		case <-ticker.C():
		case <-retry:
		}
		err := s.reconcile(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retry, backoff = nil, newBackoff()
			continue
		}
		delay := backoff.Step()
		log.Error(err, "Could not keep certificates up to date", "retryAfter", delay.String())
		retry = time.After(delay)
	}
}

func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 9, Cap: tick}
}

// reconcile brings Secret, webhook configurations and certificate together, in
// this order, so that a new CA is trusted before it is used.
func (s *SelfSigned) reconcile(ctx context.Context) error {
	if !s.secret.informer.HasSynced() {
		return nil // to generate now might replace a CA that is only not known yet
	}
	keys := s.secret.cached()
	now := s.opts.Clock.Now()
	if keys.check(s.opts.DNSNames, now) == nil && s.targets.settled(keys.bundle()) {
		return s.use(ctx, keys, true)
	}
	// A cache may be behind, and what is written must not be.
	fresh, err := s.secret.current(ctx)
	if fresh.verifiable(s.opts.DNSNames, now) {
		trusted, injectErr := s.targets.inject(ctx, fresh.bundle())
		return errors.Join(err, injectErr, s.use(ctx, fresh, trusted))
	}
	if !s.Healthy() && keys.verifiable(s.opts.DNSNames, now) {
		return errors.Join(err, s.use(ctx, keys, false))
	}
	return err
}

// use serves the leaf of the keyring. As long as not all clients are known to
// trust it, a served one that they trust is preferred.
func (s *SelfSigned) use(ctx context.Context, keys keyring, trusted bool) error {
	now := s.opts.Clock.Now()
	leaf, err := keys.leaf(s.opts.DNSNames, now)
	if err != nil {
		return fmt.Errorf("use the certificate: %w", err)
	}
	bundle := keys.bundle()
	s.bundle.Store(&bundle)
	if current := s.current.Load(); current != nil {
		const margin = time.Hour
		good := keys.verify(current.Leaf, s.opts.DNSNames, now.Add(margin)) == nil
		if current.Leaf.Equal(leaf.Leaf) || good && !trusted {
			return nil
		}
	}
	s.current.Store(leaf)
	logr.FromContextOrDiscard(ctx).V(1).Info("Changed certificate",
		"serial", leaf.Leaf.SerialNumber.Text(16), "notAfter", leaf.Leaf.NotAfter)
	return nil
}
