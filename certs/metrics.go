// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"errors"
	"io/fs"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// metrics are what a source tells of itself. Labels come from bounded sets.
type metrics struct {
	notBefore, notAfter *prometheus.GaugeVec
	phase               *prometheus.GaugeVec
	steps               *prometheus.CounterVec
	injections          *prometheus.CounterVec
	mismatch            *prometheus.GaugeVec
	overwritten         *prometheus.CounterVec
	errors              *prometheus.CounterVec
	skew                prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		notBefore:   gauge("not_before_seconds", "Start of the certificate's life, as a Unix time.", "role"),
		notAfter:    gauge("not_after_seconds", "End of the certificate's life, as a Unix time.", "role"),
		phase:       gauge("rotation_phase", "1 for the phase that the rotation of the CA is in.", "phase"),
		steps:       counter("steps_total", "Changes of the Secret by this replica.", "step"),
		injections:  counter("injections_total", "Injections of the CA by this replica.", "target", "result"),
		mismatch:    gauge("bundle_mismatch", "1 while webhooks have another CA bundle than the Secret.", "target"),
		overwritten: counter("bundle_overwritten_total", "How often webhooks lost the CA bundle to another writer.", "target"),
		errors:      counter("errors_total", "Attempts to keep certificates up to date that did not succeed.", "reason"),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_certificate_clock_skew_seconds",
			Help: "By how much the clock is ahead of the API server's.",
		}),
	}
	if registerer != nil {
		m.begin()
		registerer.MustRegister(m.notBefore, m.notAfter, m.phase, m.steps, m.injections, m.mismatch, m.overwritten, m.errors, m.skew)
	}
	return m
}

// begin gives the counters that alerts and dashboards watch a value of zero: an
// increase is seen only from a value before.
func (m *metrics) begin() {
	for _, reason := range reasons {
		m.errors.WithLabelValues(reason)
	}
	for _, kind := range []string{"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} {
		m.overwritten.WithLabelValues(kind)
	}
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sallyport_certificate_" + name, Help: help}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_certificate_" + name, Help: help}, labels)
}

// observe sets the gauges.
func (m *metrics) observe(s *Status) {
	m.notBefore.Reset()
	m.notAfter.Reset()
	for i := range s.Certificates {
		c := &s.Certificates[i]
		m.notBefore.WithLabelValues(string(c.Role)).Set(unix(c.NotBefore))
		m.notAfter.WithLabelValues(string(c.Role)).Set(unix(c.NotAfter))
	}
	for _, p := range phases {
		m.phase.WithLabelValues(string(p)).Set(oneIf(string(p) == s.Phase))
	}
	for i := range s.Targets {
		m.mismatch.WithLabelValues(s.Targets[i].Kind).Set(oneIf(s.Targets[i].Exists && !s.Targets[i].Injected))
	}
	m.skew.Set(s.ClockSkewSeconds)
}

func unix(t time.Time) float64 { return float64(t.Unix()) }

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

// The classes of errors.
const (
	reasonForeignSecret = "foreign_secret"
	reasonSkew          = "clock_skew"
	reasonNoCertManager = "no_cert_manager"
	reasonNotReady      = "not_ready"
	reasonTooManyWrites = "too_many_writes"
	reasonForbidden     = "forbidden"
	reasonConflict      = "conflict" // passes by itself: another writer was faster
	reasonUnreachable   = "unreachable"
	reasonUnreadable    = "unreadable_file"
	reasonUnusable      = "unusable_certificate"
	reasonOther         = "other"
)

var reasons = []string{
	reasonForeignSecret, reasonSkew, reasonNoCertManager, reasonNotReady, reasonTooManyWrites, reasonForbidden,
	reasonConflict, reasonUnreachable, reasonUnreadable, reasonUnusable, reasonOther,
}

// reasonOf puts an error into one of few classes.
func reasonOf(err error) string {
	_, network := errors.AsType[*url.Error](err)
	_, file := errors.AsType[*fs.PathError](err)
	_, unusable := errors.AsType[unusableError](err)
	switch {
	case errors.Is(err, errForeignSecret):
		return reasonForeignSecret
	case errors.Is(err, errSkew):
		return reasonSkew
	case errors.Is(err, errNoCertManager):
		return reasonNoCertManager
	case errors.Is(err, errNotReady):
		return reasonNotReady
	case errors.Is(err, errTooManyWrites):
		return reasonTooManyWrites
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return reasonForbidden
	case lostRace(err):
		return reasonConflict
	case network:
		return reasonUnreachable
	case file:
		return reasonUnreadable
	case unusable:
		return reasonUnusable
	default:
		return reasonOther
	}
}
