// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// metrics are what the server tells of itself. Labels come from bounded sets:
// never names, namespaces, hosts or users.
type metrics struct {
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	findings   *prometheus.CounterVec
	injections *prometheus.CounterVec
	breakglass *prometheus.CounterVec
	panics     *prometheus.CounterVec
	handshakes *prometheus.CounterVec
	shed       prometheus.Counter
	ready      prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_admission_requests_total",
			Help: "Admission requests by what was decided.",
		}, []string{"operation", "kind", "decision", "dry_run"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                           "sallyport_admission_duration_seconds",
			Help:                           "Time from the first byte of a request to the last of its answer.",
			Buckets:                        []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1},
			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 100,
		}, []string{"operation", "kind"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_findings_total",
			Help: "Findings by rule and by what the policy made of them.",
		}, []string{"rule", "action", "source", "dry_run"}),
		injections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_injections_total",
			Help: "Fields that mutators have set.",
		}, []string{"mutator", "dry_run"}),
		breakglass: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_breakglass_total",
			Help: "Denied requests that asked to break the glass, by whether the user was allowed to.",
		}, []string{"result", "dry_run"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_panics_total",
			Help: "Rules and mutators that panicked; their requests were answered with HTTP 500.",
		}, []string{"name"}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_tls_handshake_errors_total",
			Help: "TLS handshakes that failed; distrusted are those of callers that refuse the certificate.",
		}, []string{"reason"}),
		shed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sallyport_shed_total",
			Help: "Requests answered with HTTP 503 because too many were in flight.",
		}),
		ready: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sallyport_ready",
			Help: "1 when the server answers reviews, as the readiness probe last saw it.",
		}),
	}
	registerer.MustRegister(m.requests, m.duration, m.findings, m.injections, m.breakglass, m.panics, m.handshakes, m.shed, m.ready)
	return m
}

// newInFlight returns the gauge of a limiter.
func newInFlight(l *limiter) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sallyport_admission_requests_in_flight",
		Help: "Requests at work; more than the limit wait for a moment and are shed.",
	}, func() float64 { return float64(len(l.places)) })
}

// begin gives the counters that alerts watch a value of zero: an increase is seen only
// from a value before.
func (m *metrics) begin(rules []*analysis.Rule, mutators []*analysis.Mutator) {
	for _, r := range rules {
		m.panics.WithLabelValues(r.Name)
	}
	for _, mutator := range mutators {
		m.panics.WithLabelValues(mutator.Name)
	}
	for _, result := range []string{glassAllowed, glassForbidden, glassError} {
		m.breakglass.WithLabelValues(result, "false")
	}
	for _, r := range handshakeReasons {
		m.handshakes.WithLabelValues(r.reason)
	}
}

func (m *metrics) observe(req *admissionv1.AdmissionRequest, decision string, took time.Duration) {
	operation, kind := labels(req)
	m.requests.WithLabelValues(operation, kind, decision, strconv.FormatBool(isDryRun(req))).Inc()
	m.duration.WithLabelValues(operation, kind).Observe(took.Seconds())
}

// observeFailure counts a request that got no verdict; req is nil if it could
// not even be read.
func (m *metrics) observeFailure(req *admissionv1.AdmissionRequest, decision string) {
	operation, kind, dryRun := "", "", "false"
	if req != nil {
		operation, kind = labels(req)
		dryRun = strconv.FormatBool(isDryRun(req))
	}
	m.requests.WithLabelValues(operation, kind, decision, dryRun).Inc()
}

func (m *metrics) observeFindings(req *admissionv1.AdmissionRequest, findings []analysis.Finding) {
	dryRun := strconv.FormatBool(isDryRun(req))
	for i := range findings {
		action := string(findings[i].Verdict.Action)
		if findings[i].Verdict.Exemption != "" {
			action = "Exempted"
		}
		m.findings.WithLabelValues(findings[i].Rule.Name, action, "admission", dryRun).Inc()
	}
}

func (m *metrics) observeInjections(req *admissionv1.AdmissionRequest, injections []analysis.Injection) {
	dryRun := strconv.FormatBool(isDryRun(req))
	for i := range injections {
		m.injections.WithLabelValues(injections[i].Mutator.Name, dryRun).Inc()
	}
}

func (m *metrics) observeBreakGlass(req *admissionv1.AdmissionRequest, result string) {
	m.breakglass.WithLabelValues(result, strconv.FormatBool(isDryRun(req))).Inc()
}

// labels maps what the caller says to bounded sets, since anybody who reaches
// the port may call.
func labels(req *admissionv1.AdmissionRequest) (operation, kind string) {
	operation, kind = "other", "other"
	switch req.Operation {
	case admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect:
		operation = string(req.Operation)
	}
	if k := analysis.KindFor(schema.GroupVersionKind(req.Kind)); k != nil {
		kind = k.Kind
	}
	return operation, kind
}

func isDryRun(req *admissionv1.AdmissionRequest) bool { return req.DryRun != nil && *req.DryRun }
