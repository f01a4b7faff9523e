// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

// A Source provides the serving certificate and keeps it fresh.
type Source interface {
	// GetCertificate is for [tls.Config]. It takes no lock and does not block.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Start keeps the certificate fresh until ctx is done; then it returns nil.
	// It may be called once. Its log is the logger of ctx.
	Start(ctx context.Context) error
	// Healthy reports whether GetCertificate returns a certificate that is
	// valid now and has the right names.
	Healthy() bool
}

// Options are those of every mode.
type Options struct {
	// DNSNames are the names by which the server is called, at least one. The
	// API server calls a Service by "<service>.<namespace>.svc".
	DNSNames []string
	// Clock is the time; nil is the system's. // optional
	Clock clock.WithTicker
	// Registerer gets the metrics. [InMemory] has none. // optional
	Registerer prometheus.Registerer
	// Events gets what an operator should know. [InMemory] has none. // optional
	Events record.EventRecorder

	profile profile // by default newProfile
	periods periods // by default defaultPeriods
}

func (o *Options) complete() error {
	if len(o.DNSNames) == 0 {
		return errors.New("certificate: a DNS name is required")
	}
	for _, name := range o.DNSNames {
		if _, err := netip.ParseAddr(name); err == nil {
			return fmt.Errorf("certificate: %q must be a DNS name, not an address", name)
		}
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return fmt.Errorf("certificate: %q is no DNS name: %s", name, strings.Join(problems, "; "))
		}
	}
	o.DNSNames = slices.Clone(o.DNSNames)
	if o.profile.caLife == 0 {
		o.profile = newProfile(o.DNSNames)
	}
	if o.periods.tick == 0 {
		o.periods = defaultPeriods
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return nil
}

// Periods are how long is waited for what.
type periods struct {
	// tick is how often certificates are looked at. A timer that is set to the
	// day of the renewal would come late, because it stands still while the
	// machine is suspended; the wall clock does not.
	tick time.Duration
	// dwell is how long an API server may take to notice that a webhook
	// configuration has changed. A watch that hangs ends after 10 minutes
	// (client-go v0.37.2, tools/cache/reflector.go).
	dwell time.Duration
	// margin is how much earlier a certificate is given up than it ends.
	margin time.Duration
}

var defaultPeriods = periods{tick: time.Minute, dwell: 15 * time.Minute, margin: time.Hour}

// serving holds the certificate that is served.
type serving struct {
	opts    Options
	current atomic.Pointer[tls.Certificate]
}

var errNoCertificate = errors.New("certs: there is no certificate yet")

// GetCertificate returns the newest good certificate, or an error as long as
// there has been none.
func (s *serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert := s.current.Load()
	if cert == nil {
		return nil, errNoCertificate
	}
	return cert, nil
}

// Healthy reports whether there is a certificate that is valid now.
func (s *serving) Healthy() bool {
	cert := s.current.Load()
	return cert != nil && validAt(cert.Leaf, s.opts.Clock.Now()) == nil
}
