// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	informersv1 "k8s.io/client-go/informers/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

// fieldManager owns what this package writes.
const fieldManager = "sallyport-certs"

// A target watches a webhook configuration and can write its CA bundles.
type target struct {
	kind, name string
	informer   cache.SharedIndexInformer
	// read returns what matters of the API's object.
	read func(object any) *configuration
	// get asks the API server for the object.
	get func(ctx context.Context) (any, error)
	// apply sets the bundle of all webhooks, unless the configuration has
	// changed since it was read.
	apply func(ctx context.Context, c *configuration, bundle []byte) error

	sighting sighting
	// carried is the bundle that all webhooks had, until they lost it.
	carried []byte
}

// known returns the configuration; nil if there is none, or none is known yet.
func (t *target) known() *configuration {
	object, found, err := t.informer.GetStore().GetByKey(t.name)
	if err != nil || !found {
		return nil
	}
	return t.read(object)
}

// targets are the webhook configurations to inject into.
type targets struct {
	all     []*target
	writes  flowcontrol.RateLimiter
	metrics *metrics
}

// newTargets returns the configurations with these names; empty is none.
func newTargets(client kubernetes.Interface, validating, mutating string, metrics *metrics) *targets {
	// Whoever changes our objects as fast as we do must not make us a busy loop.
	const writesPerSecond, burst = 1, 20
	t := &targets{writes: flowcontrol.NewTokenBucketRateLimiter(writesPerSecond, burst), metrics: metrics}
	if validating != "" {
		t.all = append(t.all, validatingTarget(client, validating))
	}
	if mutating != "" {
		t.all = append(t.all, mutatingTarget(client, mutating))
	}
	return t
}

var errTooManyWrites = errors.New("too many writes: another writer seems to undo them")

// A look is what was known of the targets at a time.
type look []glance

type glance struct {
	*target
	synced bool
	// config is nil if there is no such configuration.
	config *configuration
}

// peek returns what is known without asking.
func (t *targets) peek() look {
	var all look
	for _, target := range t.all {
		all = append(all, glance{target: target, synced: target.informer.HasSynced(), config: target.known()})
	}
	return all
}

// look returns what is known without asking, and takes note of it.
func (t *targets) look(now time.Time) look {
	all := t.peek()
	for _, g := range all {
		g.sighting.update(g.config, now)
	}
	return all
}

// ask brings what was known of the targets up to date.
func (l look) ask(ctx context.Context, now time.Time) error {
	var errs []error
	for i := range l {
		object, err := l[i].get(ctx)
		switch {
		case apierrors.IsNotFound(err):
			l[i].synced, l[i].config = true, nil
		case err != nil:
			l[i].synced, l[i].config = false, nil
			errs = append(errs, fmt.Errorf("read %s %s: %w", l[i].kind, l[i].name, err))
		default:
			l[i].synced, l[i].config = true, l[i].read(object)
		}
		l[i].sighting.update(l[i].config, now)
	}
	return errors.Join(errs...)
}

// authorities returns the CAs that webhooks have, each once.
func (l look) authorities() []*x509.Certificate {
	var all []*x509.Certificate
	for _, g := range l {
		if g.config == nil {
			continue
		}
		for _, w := range g.config.webhooks {
			for _, ca := range parseBundle(w.bundle) {
				if !slices.ContainsFunc(all, ca.Equal) {
					all = append(all, ca)
				}
			}
		}
	}
	return all
}

// settled reports whether no target needs an injection.
func (l look) settled(bundle []byte) bool {
	for _, g := range l {
		if !g.synced || g.config != nil && !g.config.carries(bundle) {
			return false
		}
	}
	return true
}

// note remembers which targets have the bundle.
func (l look) note(bundle []byte) {
	for _, g := range l {
		if g.config != nil && g.config.carries(bundle) {
			g.carried = bundle
		}
	}
}

// sightings are for [clients].
func (l look) sightings() []map[caID]time.Time {
	var all []map[caID]time.Time
	for _, g := range l {
		if g.synced && (g.config == nil || len(g.config.webhooks) == 0) {
			continue // nobody finds a CA there
		}
		all = append(all, g.sighting.since)
	}
	return all
}

// inject makes all targets that exist trust the bundle. The bundle must have
// been read after the look was taken: whoever writes an older one then finds
// that the target has changed.
func (t *targets) inject(ctx context.Context, seen look, bundle []byte) error {
	var errs []error
	for _, g := range seen {
		if g.config == nil || g.config.carries(bundle) {
			continue // what is not known yet, its informer will tell
		}
		err := t.put(ctx, g.target, g.config, bundle)
		if err != nil && !apierrors.IsConflict(err) { // its informer will tell, too
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// put makes all webhooks of the target trust the bundle.
func (t *targets) put(ctx context.Context, target *target, c *configuration, bundle []byte) error {
	log := logr.FromContextOrDiscard(ctx).WithValues("kind", target.kind, "name", target.name)
	if bytes.Equal(target.carried, bundle) {
		target.carried = nil
		t.metrics.overwritten.WithLabelValues(target.kind).Inc()
		log.Info("Another writer took the CA away")
	}
	err := errTooManyWrites
	if t.writes.TryAccept() {
		err = target.apply(ctx, c, bundle)
	}
	if err != nil {
		t.metrics.injections.WithLabelValues(target.kind, reasonOf(err)).Inc()
		return fmt.Errorf("inject the CA into %s %s: %w", target.kind, target.name, err)
	}
	t.metrics.injections.WithLabelValues(target.kind, "success").Inc()
	log.Info("Injected CA")
	return nil
}

// The UID in what is applied keeps a configuration that was just deleted from
// being created again.
var applyOptions = metav1.ApplyOptions{FieldManager: fieldManager, Force: true}

func validatingTarget(client kubernetes.Interface, name string) *target {
	return &target{
		kind:     "ValidatingWebhookConfiguration",
		name:     name,
		informer: informersv1.NewFilteredValidatingWebhookConfigurationInformer(client, 0, nil, only(name)),
		read: func(object any) *configuration {
			from, ok := object.(*admissionregistrationv1.ValidatingWebhookConfiguration)
			if !ok {
				return nil
			}
			c := configurationOf(&from.ObjectMeta)
			for _, w := range from.Webhooks {
				c.webhooks = append(c.webhooks, webhook{name: w.Name, bundle: w.ClientConfig.CABundle})
			}
			return c
		},
		get: func(ctx context.Context) (any, error) {
			return client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		},
		apply: func(ctx context.Context, c *configuration, bundle []byte) error {
			apply := applyv1.ValidatingWebhookConfiguration(name).WithUID(c.uid).WithResourceVersion(c.resourceVersion)
			for _, w := range c.webhooks {
				apply.WithWebhooks(applyv1.ValidatingWebhook().WithName(w.name).WithClientConfig(clientConfig(bundle)))
			}
			_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Apply(ctx, apply, applyOptions)
			return err
		},
	}
}

func mutatingTarget(client kubernetes.Interface, name string) *target {
	return &target{
		kind:     "MutatingWebhookConfiguration",
		name:     name,
		informer: informersv1.NewFilteredMutatingWebhookConfigurationInformer(client, 0, nil, only(name)),
		read: func(object any) *configuration {
			from, ok := object.(*admissionregistrationv1.MutatingWebhookConfiguration)
			if !ok {
				return nil
			}
			c := configurationOf(&from.ObjectMeta)
			for _, w := range from.Webhooks {
				c.webhooks = append(c.webhooks, webhook{name: w.Name, bundle: w.ClientConfig.CABundle})
			}
			return c
		},
		get: func(ctx context.Context) (any, error) {
			return client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		},
		apply: func(ctx context.Context, c *configuration, bundle []byte) error {
			apply := applyv1.MutatingWebhookConfiguration(name).WithUID(c.uid).WithResourceVersion(c.resourceVersion)
			for _, w := range c.webhooks {
				apply.WithWebhooks(applyv1.MutatingWebhook().WithName(w.name).WithClientConfig(clientConfig(bundle)))
			}
			_, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Apply(ctx, apply, applyOptions)
			return err
		},
	}
}

func clientConfig(bundle []byte) *applyv1.WebhookClientConfigApplyConfiguration {
	return applyv1.WebhookClientConfig().WithCABundle(bundle...)
}
