// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"k8s.io/client-go/util/retry"
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
	// published is since when the CAs of the Secret have been in it.
	published map[caID]time.Time
	changes   chan struct{}
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
			client: client, namespace: opts.Namespace, name: opts.Secret, writes: writes,
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
	ticker := s.opts.Clock.NewTicker(s.opts.periods.tick)
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
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 9, Cap: time.Minute}
}

// reconcile brings Secret, webhook configurations and certificate together. It
// looks at the webhook configurations before it reads the Secret, see
// [targets.inject].
func (s *SelfSigned) reconcile(ctx context.Context) error {
	if !s.secret.informer.HasSynced() {
		return nil // to generate now might replace a CA that is only not known yet
	}
	now := s.opts.Clock.Now()
	seen := s.targets.look(now)
	known := s.secret.cached()
	if s.due(known, seen, now) == stepNone && seen.settled(known.keys.bundle()) {
		return s.use(ctx, known, seen)
	}
	// A cache may be behind, and what is written must not be.
	fresh, err := s.advance(ctx, seen)
	if !fresh.keys.verifiable(s.opts.DNSNames, now) {
		if s.Healthy() || !known.keys.verifiable(s.opts.DNSNames, now) {
			return err
		}
		return errors.Join(err, s.use(ctx, known, seen))
	}
	return errors.Join(err, s.targets.inject(ctx, seen, fresh.keys.bundle()), s.use(ctx, fresh, seen))
}

// due returns the step that is due as far as is known.
func (s *SelfSigned) due(r rotation, seen look, now time.Time) step {
	return r.state(s.opts.DNSNames, now).next(s.clients(r, seen, now), now)
}

// clients returns who trusts what. Who takes the CAs out of the Secret is one of
// them.
func (s *SelfSigned) clients(r rotation, seen look, now time.Time) *clients {
	s.published = carryOver(s.published, idsIn(r.keys.bundle()), now)
	return &clients{
		sightings: append(seen.sightings(), s.published),
		dwell:     s.opts.periods.dwell,
		settled:   seen.settled(r.keys.bundle()),
	}
}

// advance reads the Secret and takes the step that is due, if there is one. It
// returns what the Secret holds, with an error if it should hold something else.
func (s *SelfSigned) advance(ctx context.Context, seen look) (r rotation, err error) {
	err = retry.OnError(retry.DefaultRetry, lostRace, func() error {
		r, err = s.tryAdvance(ctx, seen)
		return err
	})
	return r, err
}

func (s *SelfSigned) tryAdvance(ctx context.Context, seen look) (rotation, error) {
	secret, err := s.secret.read(ctx)
	if err != nil {
		return rotation{}, err
	}
	r, err := rotationIn(secret)
	if err != nil {
		return rotation{}, err
	}
	now := s.opts.Clock.Now()
	due := s.due(r, seen, now)
	if due == stepSwitch {
		asked := slices.Clone(seen) // the look stays older than the Secret
		err = asked.ask(ctx, now)
		due = s.due(r, asked, now)
	}
	if due == stepNone {
		return r, err
	}
	next, err := r.take(due, s.opts.profile, now)
	if err != nil {
		return r, err
	}
	if _, err := s.secret.write(ctx, secret, next); err != nil {
		return r, err
	}
	logr.FromContextOrDiscard(ctx).Info(due.message(), "secret", s.secret.namespace+"/"+s.secret.name, "phase", next.phase)
	return next, nil
}

// use serves the leaf of the rotation, unless the one that is served is good and
// clients might not trust the new one yet.
func (s *SelfSigned) use(ctx context.Context, r rotation, seen look) error {
	now := s.opts.Clock.Now()
	cert, err := r.keys.leaf(s.opts.DNSNames, now)
	if err != nil {
		return fmt.Errorf("use the certificate: %w", err)
	}
	seen.note(r.keys.bundle())
	s.bundle.Store(new(r.keys.bundle()))
	var served *leaf
	if current := s.current.Load(); current != nil {
		if current.Leaf.Equal(cert.Leaf) {
			return nil
		}
		served = r.keys.accepted(current.Leaf, s.opts.DNSNames, now.Add(s.opts.periods.margin))
	}
	if !r.state(s.opts.DNSNames, now).serves(served, s.clients(r, seen, now), now) {
		return nil
	}
	s.current.Store(cert)
	logr.FromContextOrDiscard(ctx).V(1).Info("Changed certificate",
		"serial", cert.Leaf.SerialNumber.Text(16), "notAfter", cert.Leaf.NotAfter)
	return nil
}
