// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
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
	// Registerer gets the metrics. // optional
	Registerer prometheus.Registerer
	// Events gets what an operator should know, about the Secret. // optional
	Events record.EventRecorder
}

// SelfSigned is a [Source] with a CA of its own that all replicas share. Use
// [NewSelfSigned]. Its methods may be called at any time.
type SelfSigned struct {
	serving
	opts    SelfSignedOptions
	secret  *secretStore
	targets *targets
	meter   *skewMeter
	metrics *metrics
	changes chan struct{}

	// rotation is what was used last.
	rotation atomic.Pointer[rotation]
	// strayed is since when clients cannot verify the certificate.
	strayed atomic.Pointer[time.Time]

	// These are of Start alone: since when the CAs of the Secret have been in
	// it, when clocks were compared, and whether they differed too much.
	published map[caID]time.Time
	compared  time.Time
	skewed    bool
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
	counts := newMetrics(opts.Registerer)
	s := &SelfSigned{
		serving: serving{opts: opts.Options},
		opts:    opts,
		secret: &secretStore{
			client: client, namespace: opts.Namespace, name: opts.Secret, writes: writes,
			informer: corev1informers.NewFilteredSecretInformer(client, opts.Namespace, 0, nil, only(opts.Secret)),
		},
		targets: &targets{all: targetsOf(client, &opts), writes: writes, metrics: counts},
		meter:   &skewMeter{client: client, clock: opts.Clock},
		metrics: counts,
		changes: make(chan struct{}, 1),
	}
	s.strayed.Store(new(time.Time)) // until it is known better
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
	if r := s.rotation.Load(); r != nil {
		return r.keys.bundle()
	}
	return nil
}

// Targets returns the state of the webhook configurations, as far as it is known.
func (s *SelfSigned) Targets() []Target { return s.Status().Targets }

// Status returns the status as this replica knows it.
func (s *SelfSigned) Status() *Status {
	var r rotation
	if used := s.rotation.Load(); used != nil {
		r = *used
	}
	var leaf *x509.Certificate
	if current := s.current.Load(); current != nil {
		leaf = current.Leaf
	}
	return newStatus(r, leaf, s.targets.peek(), s.meter)
}

// Healthy reports whether there is a certificate that is valid now, and that
// the CA bundles of the webhook configurations verify, or did a minute ago: who
// takes the CA away for a moment does not take the server away.
func (s *SelfSigned) Healthy() bool {
	const grace = time.Minute
	if since := s.strayed.Load(); since != nil && s.opts.Clock.Since(*since) > grace {
		return false
	}
	current := s.current.Load()
	return current != nil && slices.ContainsFunc(s.meter.times(), func(now time.Time) bool {
		return validAt(current.Leaf, now) == nil
	})
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
		s.metrics.observe(s.Status())
		s.compareClocks(ctx)
		if err == nil {
			retry, backoff = nil, newBackoff()
			continue
		}
		s.metrics.errors.WithLabelValues(reasonOf(err)).Inc()
		delay := backoff.Step()
		log.Error(err, "Could not keep certificates up to date", "retryAfter", delay.String())
		retry = time.After(delay)
	}
}

// compareClocks does so once a minute, and tells of what it has found if that is
// new.
func (s *SelfSigned) compareClocks(ctx context.Context) {
	now := s.opts.Clock.Now()
	if !s.compared.IsZero() && now.Sub(s.compared).Abs() < time.Minute {
		return
	}
	skew, err := s.meter.measure(ctx)
	if err != nil {
		logr.FromContextOrDiscard(ctx).V(1).Info("Could not compare the clock with the API server's", "err", err.Error())
		return
	}
	s.compared = now
	skewed := skew.Abs() > maxSkew
	if skewed == s.skewed {
		return
	}
	s.skewed = skewed
	logr.FromContextOrDiscard(ctx).Info("Compared the clock with the API server's", "skew", skew.String(), "rotationHeld", skewed)
	if skewed {
		s.event(&corev1.Secret{}, corev1.EventTypeWarning, "ClockSkew", describeSkew(skew)+": no CA is rotated until that is mended")
	}
	s.changed()
}

func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 9, Cap: time.Minute}
}
