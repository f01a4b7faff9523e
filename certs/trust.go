// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A trust knows which CAs the webhook configurations have, and can add more.
type trust struct {
	*targets
	// named says that the CAs are known, so that a webhook without a bundle trusts
	// nobody. Otherwise the API server is taken to trust the certificate by its
	// own CAs.
	named atomic.Bool
	// since is from when on it has been seen, without a gap, that all webhooks
	// have a CA, by the CA's DER.
	since map[string]time.Time
}

// bundles returns the bundles of the webhooks of a target; none if there is no
// such target, or none is known.
func (t *trust) bundles(target *target) [][]byte {
	c := target.known()
	if c == nil {
		return nil
	}
	var bundles [][]byte
	for _, w := range c.webhooks {
		if len(w.bundle) > 0 || t.named.Load() {
			bundles = append(bundles, w.bundle)
		}
	}
	return bundles
}

// look takes note of the CAs that all webhooks have now.
func (t *trust) look(now time.Time) {
	seen := map[string]time.Time{}
	for raw := range t.common() {
		seen[raw] = now
		if since, ok := t.since[raw]; ok {
			seen[raw] = since
		}
	}
	t.since = seen
}

// common returns the CAs, in DER, that all webhooks have. It is empty also as
// long as not all targets are known.
func (t *trust) common() map[string]bool {
	var common map[string]bool
	for _, target := range t.all {
		if !target.informer.HasSynced() {
			return nil
		}
		for _, bundle := range t.bundles(target) {
			these := map[string]bool{}
			for _, ca := range parseBundle(bundle) {
				if raw := string(ca.Raw); common == nil || common[raw] {
					these[raw] = true
				}
			}
			common = these
		}
	}
	return common
}

// accepts reports whether all callers can be expected to trust the certificate:
// all webhooks have had its CA for the dwell time.
func (t *trust) accepts(cert *tls.Certificate, names []string, now time.Time, dwell time.Duration, times []time.Time) bool {
	if t.nobody() {
		return true
	}
	pool := x509.NewCertPool()
	for raw, since := range t.since {
		if ca, err := x509.ParseCertificate([]byte(raw)); err == nil && now.Sub(since) >= dwell {
			pool.AddCert(ca)
		}
	}
	return verifyAt(cert, pool, names, times) == nil
}

// nobody reports whether it is known that there is no bundle to verify with.
func (t *trust) nobody() bool {
	for _, target := range t.all {
		if !target.informer.HasSynced() || len(t.bundles(target)) > 0 {
			return false
		}
	}
	return true
}

// check returns which target, as it is known to be now, does not trust the
// certificate.
func (t *trust) check(cert *tls.Certificate, names []string, times []time.Time) error {
	for _, target := range t.all {
		if err := t.checkOne(target, cert, names, times); err != nil {
			return fmt.Errorf("%s %s does not trust the certificate: %w", target.kind, target.name, err)
		}
	}
	return nil
}

func (t *trust) checkOne(target *target, cert *tls.Certificate, names []string, times []time.Time) error {
	for _, bundle := range t.bundles(target) {
		if err := verifyAt(cert, poolIn(bundle), names, times); err != nil {
			return err
		}
	}
	return nil
}

// add makes all targets that exist trust the CAs, besides those that they trust
// already: other replicas may serve certificates of these, which they got before
// this package last changed the bundle. When these certificates have ended, which
// live so long, or the CA itself has, it is dropped.
func (t *trust) add(ctx context.Context, cas []*x509.Certificate, now time.Time, life time.Duration) error {
	var errs []error
	for _, target := range t.all {
		c := target.known()
		if c == nil {
			continue // its informer will tell
		}
		bundle := bundleOf(append(t.kept(target, c, cas, now, life), cas...))
		if c.carries(bundle) {
			target.carried = bundle
		} else if err := t.put(ctx, target, c, bundle); err != nil && !apierrors.IsConflict(err) { // its informer will tell, too
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kept returns the CAs of the target that are to stay.
func (t *trust) kept(target *target, c *configuration, added []*x509.Certificate, now time.Time, life time.Duration) []*x509.Certificate {
	var kept []*x509.Certificate
	for _, w := range c.webhooks {
		kept = append(kept, parseBundle(w.bundle)...)
	}
	changed := lastInjected(target)
	changes := slices.ContainsFunc(added, func(ca *x509.Certificate) bool { return !slices.ContainsFunc(kept, ca.Equal) })
	if !changes && !changed.IsZero() && now.After(changed.Add(life)) {
		return nil
	}
	return slices.DeleteFunc(kept, func(ca *x509.Certificate) bool { return now.After(ca.NotAfter) })
}

// lastInjected returns when this package last changed a bundle of the target; zero
// if that is not known.
func lastInjected(target *target) time.Time {
	object, found, err := target.informer.GetStore().GetByKey(target.name)
	if err != nil || !found {
		return time.Time{}
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return time.Time{}
	}
	for _, entry := range accessor.GetManagedFields() {
		if entry.Manager == fieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Time != nil {
			return entry.Time.Time
		}
	}
	return time.Time{}
}
