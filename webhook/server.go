// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// The paths that the webhook configurations name.
const (
	ValidatePath = "/validate"
	MutatePath   = "/mutate"
)

// Options say what a [Server] serves and where.
type Options struct {
	// Suite and Mutators are what reviews are answered with.
	Suite    *analysis.Suite
	Mutators []*analysis.Mutator
	// Config holds the facts about the mesh; nil is the default. // optional
	Config *config.Configuration
	// Policies gives the effective policies; nil is the built-in default for
	// every namespace. // optional
	Policies Policies
	// Mesh is the index of the other objects; nil knows none. // optional
	Mesh analysis.Mesh
	// BreakGlass says who may have a denied change let through; nil is nobody.
	// // optional
	BreakGlass Authorizer
	// Certificates provides the serving certificate and its health.
	Certificates Certificates
	// ClientCA keeps callers of reviews out who have no certificate; nil lets
	// anybody in. // optional
	ClientCA ClientCA
	// Ready are further conditions of readiness, by name; each returns why it
	// is not fulfilled. // optional
	Ready map[string]func(context.Context) error

	// Listener accepts the API server's connections. It is closed by Run.
	Listener net.Listener
	// Probes accepts connections for /healthz and /readyz, in plain HTTP; nil
	// serves none of them. // optional
	Probes net.Listener
	// Metrics accepts connections for /metrics, over TLS; nil serves none. It needs
	// a MetricsGuard. // optional
	Metrics net.Listener
	// MetricsGuard lets those through who may read metrics, such as
	// [NewScrapeGuard]'s. // optional
	MetricsGuard func(http.Handler) http.Handler
	// OpenMetrics serves /metrics on Probes too, to anybody. // optional
	OpenMetrics bool
	// DrainDelay is how long the server goes on serving after it has said
	// that it is not ready any more; zero is no delay. // optional
	DrainDelay time.Duration
	// MaxInFlight bounds the reviews at work; zero is 4 for each CPU. // optional
	MaxInFlight int
	// MaxConnections bounds the connections for reviews; zero is 1000: far more than
	// API servers use, which have one for each review under way, and few enough that
	// their buffers do not count. // optional
	MaxConnections int
	// MinTLSVersion is the oldest version of TLS that is spoken; zero is 1.3.
	// // optional
	MinTLSVersion uint16
	// Registry gets the metrics; nil is a registry of its own. // optional
	Registry *prometheus.Registry
	// Tracer makes a span of each review, without content, names and users; nil makes
	// none. // optional
	Tracer trace.Tracer
	// Log gets one line for each denial and for each failure. // optional
	Log logr.Logger
	// Now is the clock of the engine; nil is the system's. // optional
	Now func() time.Time
}

// Certificates is the part of a certificate source that the server needs.
type Certificates interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Healthy() bool
}

// ClientCA is the part of a client CA that the server needs.
type ClientCA interface {
	// Require makes servers with the configuration demand a certificate.
	Require(*tls.Config)
}

// A Server answers the API server's admission reviews.
type Server struct {
	opts      Options
	evaluator *evaluator
	metrics   *metrics
	limiter   *limiter
	large     *limiter
	readiness *readiness
}

// New returns a server that is ready to run. It fails if an option is missing.
func New(opts Options) (*Server, error) {
	if opts.Suite == nil || opts.Certificates == nil || opts.Listener == nil {
		return nil, errors.New("webhook: Suite, Certificates and Listener are required")
	}
	if opts.Metrics != nil && opts.MetricsGuard == nil {
		return nil, errors.New("webhook: Metrics needs a MetricsGuard")
	}
	setDefaults(&opts)
	s := &Server{
		opts:    opts,
		metrics: newMetrics(opts.Registry),
		limiter: newLimiter(opts.MaxInFlight),
		large:   newLimiter(opts.MaxInFlight),
	}
	s.metrics.begin(opts.Suite.Rules(), opts.Mutators)
	opts.Registry.MustRegister(newInFlight(s.limiter))
	s.evaluator = &evaluator{
		suite: opts.Suite, mutators: opts.Mutators, config: opts.Config, mesh: opts.Mesh,
		policies: opts.Policies, glass: opts.BreakGlass, waiting: make(chan struct{}, opts.MaxInFlight/2),
		metrics: s.metrics, now: opts.Now, log: opts.Log,
	}
	s.readiness = &readiness{conditions: map[string]func(context.Context) error{
		"certificate": func(context.Context) error {
			if !opts.Certificates.Healthy() {
				return errors.New("there is no valid certificate")
			}
			return nil
		},
		"policies": func(context.Context) error {
			if opts.Policies.For("default") == nil {
				return errors.New("the policies are not known yet")
			}
			return nil
		},
		"self-review": newSelfReview(opts),
	}}
	maps.Copy(s.readiness.conditions, opts.Ready)
	return s, nil
}

func setDefaults(opts *Options) {
	if opts.Config == nil {
		opts.Config = config.Default()
	}
	if opts.Policies == nil {
		opts.Policies = builtinPolicy{}
	}
	if opts.MaxInFlight == 0 {
		opts.MaxInFlight = 4 * runtime.GOMAXPROCS(0)
	}
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 1000
	}
	if opts.MinTLSVersion == 0 {
		opts.MinTLSVersion = tls.VersionTLS13
	}
	if opts.Registry == nil {
		opts.Registry = prometheus.NewRegistry()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
}

// builtinPolicy is the built-in default for every namespace.
type builtinPolicy struct{}

// For implements [Policies].
func (builtinPolicy) For(string) *policy.Policy { return policy.Default() }

// Handler returns the handler of reviews, which answers 503 until the server
// is ready. Run serves it over TLS.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	closing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.readiness.stopped.Load() {
				w.Header().Set("Connection", "close")
			}
			next.ServeHTTP(w, r)
		})
	}
	for path, review := range map[string]reviewFunc{ValidatePath: s.evaluator.validate, MutatePath: s.evaluator.mutate} {
		mux.Handle(path, closing(&reviewHandler{
			review: s.whenReady(review), metrics: s.metrics, limiter: s.limiter, large: s.large, tracer: s.opts.Tracer, log: s.opts.Log,
		}))
	}
	return mux
}

// whenReady refuses to judge before all that a verdict depends on is there.
func (s *Server) whenReady(review reviewFunc) reviewFunc {
	return func(ctx context.Context, req *admissionv1.AdmissionRequest) (*answer, error) {
		if err := s.readiness.started(ctx); err != nil {
			return nil, unavailable("not ready: " + err.Error())
		}
		return review(ctx, req)
	}
}

// Run serves until ctx is done and what is in flight then is answered. It may
// be called once.
func (s *Server) Run(ctx context.Context) error {
	reviews := s.httpServer(s.Handler())
	reviews.ConnState = newConnections(s.opts.MaxConnections).observe
	reviews.TLSConfig = s.tlsConfig()
	reviews.ErrorLog = newErrorLog(s.metrics.handshakes, s.opts.Log)
	if s.opts.ClientCA != nil {
		s.opts.ClientCA.Require(reviews.TLSConfig)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ignoreClosed(reviews.ServeTLS(s.opts.Listener, "", "")) })
	servers := []*http.Server{reviews}
	if s.opts.Probes != nil {
		probes := s.httpServer(s.probes())
		servers = append(servers, probes)
		group.Go(func() error { return ignoreClosed(probes.Serve(s.opts.Probes)) })
	}
	if s.opts.Metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET "+MetricsPath, s.opts.MetricsGuard(s.exposition()))
		metrics := s.httpServer(mux)
		metrics.TLSConfig = s.tlsConfig()
		servers = append(servers, metrics)
		group.Go(func() error { return ignoreClosed(metrics.ServeTLS(s.opts.Metrics, "", "")) })
	}
	group.Go(func() error {
		<-ctx.Done()
		return s.drain(context.WithoutCancel(ctx), servers)
	})
	return group.Wait()
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             s.opts.MinTLSVersion,
		GetCertificate:         s.opts.Certificates.GetCertificate,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
	}
}

func (s *Server) exposition() http.Handler {
	return promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{})
}

// drain ends the servers without dropping a request: first it is not ready, then
// callers have time to notice, and with each answer they are told to use another
// connection. Idle connections are closed last: a caller could be about to use one,
// and does not try again what it has begun to send.
func (s *Server) drain(ctx context.Context, servers []*http.Server) error {
	s.readiness.stop()
	time.Sleep(s.opts.DrainDelay)
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	var errs []error
	for _, server := range servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("shut down: %w", errors.Join(err, server.Close())))
		}
	}
	return errors.Join(errs...)
}

// The limits that keep a slow or silent client from holding a connection.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	// idleTimeout is longer than the API server's, which is 90 seconds (k8s.io/client-go
	// v0.37.2, transport/cache.go): what it begins to send on a connection that is closed
	// at that moment, it does not send again.
	idleTimeout     = 2 * time.Minute
	maxHeaderBytes  = 16 << 10
	shutdownTimeout = 15 * time.Second
)

func (s *Server) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          newDebugLog(s.opts.Log),
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) probes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.readiness.check(r.Context()); err != nil {
			s.metrics.ready.Set(0)
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		s.metrics.ready.Set(1)
		_, _ = w.Write([]byte("ok\n"))
	})
	if s.opts.OpenMetrics {
		mux.Handle("GET "+MetricsPath, s.exposition())
	}
	return mux
}
