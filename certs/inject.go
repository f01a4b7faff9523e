// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	informersv1 "k8s.io/client-go/informers/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

// fieldManager owns what this package writes.
const fieldManager = "sallyport-certs"

// A Target is a webhook configuration that must carry the CA bundle.
type Target struct {
	// Kind is ValidatingWebhookConfiguration or MutatingWebhookConfiguration.
	Kind string
	Name string
	// Exists is false also as long as nothing is known about the target.
	Exists bool
	// Injected reports whether each of its webhooks has the CA bundle.
	Injected bool
}

// A target watches a webhook configuration and can write its CA bundles.
type target struct {
	kind, name string
	informer   cache.SharedIndexInformer
	// read returns what matters of the informer's object.
	read func(object any) *configuration
	// apply sets the bundle of all webhooks.
	apply func(ctx context.Context, c *configuration, bundle []byte) error
}

// A configuration is what matters of a webhook configuration.
type configuration struct {
	uid      types.UID
	webhooks []webhook
}

type webhook struct {
	name   string
	bundle []byte
}

func (c *configuration) carries(bundle []byte) bool {
	for _, w := range c.webhooks {
		if !bytes.Equal(w.bundle, bundle) {
			return false
		}
	}
	return true
}

// known returns the configuration; nil if there is none, or none is known yet.
func (t *target) known() *configuration {
	object, found, err := t.informer.GetStore().GetByKey(t.name)
	if err != nil || !found {
		return nil
	}
	return t.read(object)
}

// settled reports whether the target is known to need no injection.
func (t *target) settled(bundle []byte) bool {
	if !t.informer.HasSynced() {
		return false
	}
	c := t.known()
	return c == nil || c.carries(bundle)
}

func (t *target) status(bundle []byte) Target {
	c := t.known()
	return Target{Kind: t.kind, Name: t.name, Exists: c != nil, Injected: c != nil && c.carries(bundle)}
}

// targets are the webhook configurations to inject into.
type targets struct {
	all    []*target
	writes flowcontrol.RateLimiter
}

var errTooManyWrites = errors.New("too many writes: another writer seems to undo them")

func (t *targets) settled(bundle []byte) bool {
	for _, target := range t.all {
		if !target.settled(bundle) {
			return false
		}
	}
	return true
}

// inject makes all targets that exist trust the bundle. It reports false if one
// does not, or may not.
func (t *targets) inject(ctx context.Context, bundle []byte) (bool, error) {
	done := true
	var errs []error
	for _, target := range t.all {
		if target.settled(bundle) {
			continue
		}
		c := target.known()
		if c == nil {
			done = false // not known yet; its informer will tell
			continue
		}
		if err := t.injectOne(ctx, target, c, bundle); err != nil {
			done = false
			errs = append(errs, fmt.Errorf("inject the CA into %s %s: %w", target.kind, target.name, err))
		}
	}
	return done, errors.Join(errs...)
}

func (t *targets) injectOne(ctx context.Context, target *target, c *configuration, bundle []byte) error {
	if !t.writes.TryAccept() {
		return errTooManyWrites
	}
	if err := target.apply(ctx, c, bundle); err != nil {
		return err
	}
	logr.FromContextOrDiscard(ctx).Info("Injected CA", "kind", target.kind, "name", target.name)
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
			c := &configuration{uid: from.UID}
			for _, w := range from.Webhooks {
				c.webhooks = append(c.webhooks, webhook{name: w.Name, bundle: w.ClientConfig.CABundle})
			}
			return c
		},
		apply: func(ctx context.Context, c *configuration, bundle []byte) error {
			apply := applyv1.ValidatingWebhookConfiguration(name).WithUID(c.uid)
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
			c := &configuration{uid: from.UID}
			for _, w := range from.Webhooks {
				c.webhooks = append(c.webhooks, webhook{name: w.Name, bundle: w.ClientConfig.CABundle})
			}
			return c
		},
		apply: func(ctx context.Context, c *configuration, bundle []byte) error {
			apply := applyv1.MutatingWebhookConfiguration(name).WithUID(c.uid)
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
