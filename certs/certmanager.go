// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	cmclient "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// CertManagerOptions say what cert-manager is asked for, and who shall trust it.
type CertManagerOptions struct {
	Options
	// Namespace and Secret name the Secret that cert-manager writes. The
	// Certificate that asks for it has the same name.
	Namespace, Secret string
	// Issuer signs the certificate. Nil: a CA of its own, which cert-manager makes
	// and renews. // optional
	Issuer *cmmeta.IssuerReference
	// CAInjector leaves the injection to cert-manager's cainjector, from v1.21 on:
	// earlier ones replace a CA whose certificates are still served. // optional
	CAInjector bool
	// ValidatingConfiguration and MutatingConfiguration name the webhook
	// configurations that get the CA in all their webhooks. They may be created
	// later. Empty is none. // optional
	ValidatingConfiguration, MutatingConfiguration string
}

// CertManager is a [Source] of certificates that cert-manager issues. Use
// [NewCertManager].
type CertManager struct {
	*follower
	opts      CertManagerOptions
	client    kubernetes.Interface
	requested *requests
	secret    cache.SharedIndexInformer

	// These belong to the loop.
	read  *corev1.Secret
	next  *issued // what is in it
	asked time.Time
}

var _ Source = (*CertManager)(nil)

// NewCertManager returns a source that has no certificate before it is started.
func NewCertManager(client kubernetes.Interface, certManager cmclient.Interface, opts CertManagerOptions) (*CertManager, error) {
	follower, err := newFollower(ModeCertManager, client, opts.Options, opts.ValidatingConfiguration, opts.MutatingConfiguration)
	if err != nil {
		return nil, err
	}
	if opts.Namespace == "" || opts.Secret == "" {
		return nil, errNoSecretName
	}
	follower.about = aboutSecret(opts.Namespace, opts.Secret)
	follower.injects = !opts.CAInjector
	return &CertManager{
		follower: follower, opts: opts, client: client,
		requested: newRequests(certManager, &opts),
		secret:    corev1informers.NewFilteredSecretInformer(client, opts.Namespace, 0, nil, only(opts.Secret)),
	}, nil
}

// askPeriod is how often what cert-manager is asked for is looked at.
const askPeriod = time.Minute

// Start asks cert-manager for a certificate and follows the Secret until ctx is
// done.
func (c *CertManager) Start(ctx context.Context) error {
	return c.run(ctx, askPeriod, append(c.informers(), c.secret), c)
}

// reconcile does one thing whether or not it can do the other: what is in the
// Secret is served also while cert-manager is away.
func (c *CertManager) reconcile(ctx context.Context) error {
	return errors.Join(c.follow(ctx), c.ask(ctx))
}

func (c *CertManager) follow(ctx context.Context) error {
	var errs []error
	if c.opts.CAInjector {
		errs = append(errs, c.annotate(ctx))
	}
	errs = append(errs, c.load())
	if c.next != nil {
		errs = append(errs, c.offer(ctx, c.next))
	}
	return errors.Join(errs...)
}

// load reads the Secret. That there is none is for ask to tell.
func (c *CertManager) load() error {
	object, found, err := c.secret.GetStore().GetByKey(c.opts.Namespace + "/" + c.opts.Secret)
	secret, ok := object.(*corev1.Secret)
	if err != nil {
		return err
	}
	if !found || !ok || c.next != nil && c.read.ResourceVersion == secret.ResourceVersion {
		return nil
	}
	next, err := parseIssued(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], secret.Data[cmmeta.TLSCAKey])
	if err != nil {
		return fmt.Errorf("read the certificate of secret %s/%s: %w", c.opts.Namespace, c.opts.Secret, err)
	}
	c.read, c.next, c.about.UID = secret, next, secret.UID
	return nil
}

// ask looks after what cert-manager is asked for, once in a while.
func (c *CertManager) ask(ctx context.Context) error {
	now := c.follower.opts.Clock.Now()
	if now.Sub(c.asked).Abs() < askPeriod {
		return nil
	}
	if err := c.requested.ensure(ctx); err != nil {
		return err
	}
	c.asked = now
	return nil
}
