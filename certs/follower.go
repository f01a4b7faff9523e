// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// A follower serves what somebody else issues: the newest certificate that is
// good, as soon as all callers trust it.
type follower struct {
	*keeper
	mode  Mode
	trust *trust
	// injects says that the CAs are put into the webhook configurations here.
	injects bool

	served atomic.Pointer[issued]
	held   *issued // what callers do not trust yet; of the loop
}

func newFollower(mode Mode, client kubernetes.Interface, opts Options, validating, mutating string) (*follower, error) {
	keeper, err := newKeeper(client, opts, validating, mutating)
	if err != nil {
		return nil, err
	}
	return &follower{keeper: keeper, mode: mode, trust: &trust{targets: keeper.targets}}, nil
}

// Healthy reports whether there is a certificate that is valid now, under all
// names, and that the webhook configurations make the API server trust, as far
// as they are known.
func (f *follower) Healthy() bool {
	cert, times := f.current.Load(), f.meter.times()
	return cert != nil && (&issued{cert: cert}).check(f.opts.DNSNames, times...) == nil &&
		f.trust.check(cert, f.opts.DNSNames, times) == nil
}

// Targets returns the state of the webhook configurations, as far as it is known.
func (f *follower) Targets() []Target { return f.Status().Targets }

// Status returns the status as this replica knows it.
func (f *follower) Status() *Status {
	v := view{mode: f.mode, seen: f.targets.peek(), system: !f.trust.named.Load(), meter: f.meter}
	if served := f.served.Load(); served != nil {
		v.cert, v.cas = served.cert, served.cas
	}
	return v.status()
}

// offer serves next, unless what is served is good and callers might not trust
// next yet.
func (f *follower) offer(ctx context.Context, next *issued) error {
	now, times := f.opts.Clock.Now(), f.meter.times()
	if err := next.check(f.opts.DNSNames, times...); err != nil {
		return fmt.Errorf("use the certificate: %w", unusableError{err})
	}
	f.trust.named.Store(len(next.cas) > 0)
	served := f.served.Load()
	var err error
	if f.injects {
		err = f.inject(ctx, served, next, slices.MinFunc(times, time.Time.Compare))
	}
	f.trust.look(now)
	log := logr.FromContextOrDiscard(ctx).WithValues(
		"serial", next.cert.Leaf.SerialNumber.Text(16), "notAfter", next.cert.Leaf.NotAfter)
	switch {
	case served.same(next):
		f.served.Store(next) // its CAs may be others
	case served.good(f.opts.DNSNames, times) && !f.trust.accepts(next.cert, f.opts.DNSNames, now, f.opts.periods.dwell, times):
		if !f.held.same(next) {
			log.Info("Holding back new certificate until it is trusted")
		}
		f.held = next
	default:
		f.held = nil
		f.served.Store(next)
		f.current.Store(next.cert)
		log.Info("Changed certificate")
		f.event(corev1.EventTypeNormal, "CertificateChanged", "A certificate is served that ends at "+next.cert.Leaf.NotAfter.Format(time.RFC3339))
	}
	return err
}

// inject makes callers trust what is served as well as what is to be served.
func (f *follower) inject(ctx context.Context, served, next *issued, now time.Time) error {
	cas, longest := next.cas, life(next.cert.Leaf)
	if served != nil {
		cas = slices.Concat(cas, served.cas)
		longest = max(longest, life(served.cert.Leaf))
	}
	return f.trust.add(ctx, cas, now, longest)
}

// same reports whether both are the same certificate. There may be none.
func (i *issued) same(other *issued) bool {
	return i != nil && i.cert.Leaf.Equal(other.cert.Leaf)
}

// good reports whether there is a certificate and it need not be given up yet:
// that is an hour before it ends, or a tenth of its life if that is shorter.
func (i *issued) good(names []string, times []time.Time) bool {
	if i == nil {
		return false
	}
	margin := min(time.Hour, life(i.cert.Leaf)/10)
	return slices.ContainsFunc(times, func(now time.Time) bool { return i.check(names, now.Add(margin)) == nil })
}
