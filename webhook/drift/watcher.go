// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/webhook"
)

// Live reads the configurations with the names of those that are wanted. It needs the
// right to get these.
func Live(ctx context.Context, client kubernetes.Interface, want *Configurations) (*Configurations, error) {
	api, live := client.AdmissionregistrationV1(), new(Configurations)
	var err error
	if w := want.Policy; w != nil {
		if live.Policy, err = read(ctx, api.ValidatingAdmissionPolicies().Get, kindPolicy, w.Name); err != nil {
			return nil, err
		}
	}
	if w := want.Binding; w != nil {
		if live.Binding, err = read(ctx, api.ValidatingAdmissionPolicyBindings().Get, kindBinding, w.Name); err != nil {
			return nil, err
		}
	}
	if w := want.Validating; w != nil {
		if live.Validating, err = read(ctx, api.ValidatingWebhookConfigurations().Get, kindValidating, w.Name); err != nil {
			return nil, err
		}
	}
	if w := want.Mutating; w != nil {
		if live.Mutating, err = read(ctx, api.MutatingWebhookConfigurations().Get, kindMutating, w.Name); err != nil {
			return nil, err
		}
	}
	return live, nil
}

// read returns nil for what is not there.
func read[T any](ctx context.Context, get func(context.Context, string, metav1.GetOptions) (*T, error), kind, name string) (*T, error) {
	object, err := get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	return object, nil
}

// Options say what a [Watcher] compares, and whom it tells.
type Options struct {
	Client     kubernetes.Interface
	Want       *Configurations
	Registerer prometheus.Registerer
	Events     webhook.EventRecorder
	Log        logr.Logger
}

// A Watcher compares what is there with what should be, every now and then.
type Watcher struct {
	opts   Options
	drift  *prometheus.GaugeVec
	checks *prometheus.CounterVec

	known   map[Difference]bool
	failing bool
}

// every is how long a difference goes unnoticed at most. A look costs four small reads.
const every = 10 * time.Second

// NewWatcher returns one that does nothing until it runs.
func NewWatcher(opts Options) *Watcher {
	w := &Watcher{
		opts: opts,
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sallyport_webhook_drift",
			Help: "1 for what differs in the cluster from the manifests that the server was started with.",
		}, []string{"configuration", "field"}),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sallyport_webhook_drift_checks_total",
			Help: "Comparisons of the webhook configurations with the manifests, by result; unknown could not read them.",
		}, []string{"result"}),
	}
	opts.Registerer.MustRegister(w.drift, w.checks)
	for _, result := range []string{"same", "different", "unknown"} {
		w.checks.WithLabelValues(result)
	}
	w.set(nil)
	return w
}

// Run compares until ctx is done.
func (w *Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *Watcher) look(ctx context.Context) {
	live, err := Live(ctx, w.opts.Client, w.opts.Want)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		w.checks.WithLabelValues("unknown").Inc()
		if !w.failing {
			w.opts.Log.Error(err, "Could not compare the webhook configurations with the manifests, will try again")
		}
		w.failing = true
		return
	}
	w.failing = false
	found := Compare(live, w.opts.Want)
	result := "same"
	if len(found) > 0 {
		result = "different"
	}
	w.checks.WithLabelValues(result).Inc()
	w.set(found)
	w.tell(found)
}

func (w *Watcher) set(found []Difference) {
	for kind, fields := range Fields() {
		for _, field := range fields {
			there := slices.ContainsFunc(found, func(d Difference) bool { return d.Kind == kind && d.Field == field })
			value := 0.0
			if there {
				value = 1
			}
			w.drift.WithLabelValues(kind, field).Set(value)
		}
	}
}

// tell says what is new, and what is over.
func (w *Watcher) tell(found []Difference) {
	now := map[Difference]bool{}
	for _, d := range found {
		now[d] = true
		if !w.known[d] {
			w.opts.Log.Info("A webhook configuration is not as it was installed", "difference", d.String())
			w.opts.Events.Event(reference(d), corev1.EventTypeWarning, "Drifted", shorten("Not as it was installed: "+d.String()+". Apply the manifests again, or install the change."))
		}
	}
	for _, d := range slices.SortedFunc(maps.Keys(w.known), func(a, b Difference) int { return slices.Compare([]string{a.Kind, a.Field}, []string{b.Kind, b.Field}) }) {
		if !slices.ContainsFunc(found, d.remainsIn) {
			w.opts.Log.Info("A webhook configuration is as it was installed again", "configuration", d.Kind, "webhook", d.Webhook, "field", d.Field)
			w.opts.Events.Event(reference(d), corev1.EventTypeNormal, "Restored", "As it was installed again: "+d.Webhook+" "+d.Field)
		}
	}
	w.known = now
}

// remainsIn reports whether the other difference is about the same, or about more: a
// webhook or a configuration that is missing.
func (d Difference) remainsIn(other Difference) bool {
	switch {
	case d.Kind != other.Kind || d.Name != other.Name:
		return false
	case other.Field == fieldObject:
		return true
	case d.Webhook != other.Webhook:
		return false
	}
	return d.Field == other.Field || other.Field == fieldWebhooks
}

func reference(d Difference) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "admissionregistration.k8s.io/v1", Kind: d.Kind, Name: d.Name}
}

// shorten keeps a message within what an Event takes.
func shorten(message string) string {
	const most = 1000
	if len(message) <= most {
		return message
	}
	return message[:most] + "..."
}
