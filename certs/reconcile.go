// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/retry"
)

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
	if _, unusable := s.usable(fresh); unusable != nil {
		if _, unknown := s.usable(known); unknown == nil && !s.serving.Healthy() {
			err = errors.Join(err, s.use(ctx, known, seen))
		}
		return err
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
	s.about.UID = secret.UID
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
	return s.take(ctx, secret, r, due, now)
}

// take takes the step, unless the clock is wrong.
func (s *SelfSigned) take(ctx context.Context, secret *corev1.Secret, r rotation, due step, now time.Time) (rotation, error) {
	now, err := s.agree(ctx, r, due, now)
	if err != nil {
		return r, err
	}
	before := r
	if due == stepReissue && secret.ResourceVersion != "" {
		if before, err = s.recall(r, now); err != nil {
			return r, err
		}
	}
	next, err := before.take(due, s.opts.profile, now)
	if err != nil {
		return r, err
	}
	written, err := s.secret.write(ctx, secret, next)
	if err != nil {
		return r, err
	}
	s.about.UID = written.UID
	s.report(ctx, r, next, due)
	return next, nil
}

// recall adds the CAs that were trusted so far to a Secret that has lost them, so that
// what is served can go on being served until clients trust the new CA. It is not for a
// Secret that is gone: then they must not be trusted any more.
func (s *SelfSigned) recall(r rotation, now time.Time) (rotation, error) {
	used := s.rotation.Load()
	if used == nil {
		return r, nil
	}
	trusted := r.keys.trusted(now)
	for _, ca := range used.keys.trusted(now) {
		if !slices.ContainsFunc(trusted, ca.Equal) {
			trusted = append(trusted, ca)
		}
	}
	var err error
	r.keys, err = r.keys.withTrusted(trusted)
	return r, err
}

// agree returns the time at which the step can be taken, so that what is issued
// is valid by the own clock and by the API server's. If these differ by much,
// nothing is done that only one of them calls for, and no rotation.
func (s *SelfSigned) agree(ctx context.Context, r rotation, due step, now time.Time) (time.Time, error) {
	skew, err := s.meter.measure(ctx)
	if err != nil || skew.Abs() <= maxSkew {
		return now, err
	}
	other := now.Add(-skew)
	if due.waits() || r.state(s.opts.DNSNames, other).next(nobody, other) != due {
		return now, fmt.Errorf("hold step %q: %s: %w", due, describeSkew(skew), errSkew)
	}
	if other.Before(now) {
		return other, nil
	}
	return now, nil
}

// usable returns the leaf if it is valid, by one of the clocks.
func (s *SelfSigned) usable(r rotation) (cert *tls.Certificate, err error) {
	for _, now := range s.meter.times() {
		if cert, err = r.keys.leaf(s.opts.DNSNames, now); err == nil {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("use the certificate: %w", unusableError{err})
}

// use serves the leaf of the rotation, unless the one that is served is good and
// clients might not trust the new one yet.
func (s *SelfSigned) use(ctx context.Context, r rotation, seen look) error {
	cert, err := s.usable(r)
	if err != nil {
		return err
	}
	seen.note(r.keys.bundle())
	s.rotation.Store(&r)
	if s.prefers(r, seen, cert) {
		s.current.Store(cert)
		logr.FromContextOrDiscard(ctx).V(1).Info("Changed certificate",
			"serial", cert.Leaf.SerialNumber.Text(16), "notAfter", cert.Leaf.NotAfter)
	}
	s.confirm(seen)
	return nil
}

// prefers reports whether the certificate shall be served instead of the current.
func (s *SelfSigned) prefers(r rotation, seen look, cert *tls.Certificate) bool {
	current := s.current.Load()
	switch {
	case current == nil:
		return true
	case current.Leaf.Equal(cert.Leaf):
		return false
	}
	now := s.opts.Clock.Now()
	served := r.keys.accepted(current.Leaf, s.opts.DNSNames, now.Add(s.opts.periods.margin))
	return r.state(s.opts.DNSNames, now).serves(served, s.clients(r, seen, now), now)
}

// confirm checks whether clients can verify what is served.
func (s *SelfSigned) confirm(seen look) {
	current, now := s.current.Load(), s.opts.Clock.Now()
	good := !slices.ContainsFunc(seen, func(g glance) bool {
		return !g.synced || len(g.config.distrusting(current, false, s.meter.times())) > 0
	})
	switch {
	case good:
		s.strayed.Store(nil)
	case s.strayed.Load() == nil:
		s.strayed.Store(&now)
	}
}

// report tells of a step that was taken.
func (s *SelfSigned) report(ctx context.Context, before, after rotation, taken step) {
	s.metrics.steps.WithLabelValues(string(taken)).Inc()
	log := logr.FromContextOrDiscard(ctx).WithValues("secret", s.secret.namespace+"/"+s.secret.name, "phase", after.phase, "phaseBefore", before.phase)
	if leaf := after.keys.served(s.opts.Clock.Now()); leaf != nil {
		log = log.WithValues("serial", leaf.SerialNumber.Text(16), "notAfter", leaf.NotAfter)
	}
	log.Info(taken.message())
	kind := corev1.EventTypeNormal
	message := "The rotation of the CA is in phase " + string(after.phase)
	switch {
	case taken == stepReissue && len(before.keys) == 0:
		message = "There was no Secret, so a CA was made"
	case taken == stepReissue:
		kind, message = corev1.EventTypeWarning, "The Secret held no valid CA, or none for the server's names"
	}
	if taken != stepRenew {
		s.event(kind, taken.reason(), message)
	}
}
