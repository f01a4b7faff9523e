// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	corev1informers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
)

// SelfSignedOptions say where a [SelfSigned] keeps its CA and who shall trust it.
type SelfSignedOptions struct {
	Options
	// Namespace and Secret name the Secret. The replicas of a server name the
	// same one, servers that are no replicas of each other do not.
	Namespace, Secret string
	// ValidatingConfiguration and MutatingConfiguration name the webhook
	// configurations that get the CA in all their webhooks. They may be created
	// later. Empty is none. // optional
	ValidatingConfiguration, MutatingConfiguration string
}

// SelfSigned is a [Source] with a CA of its own that all replicas share. Use
// [NewSelfSigned]. Its methods may be called at any time.
type SelfSigned struct {
	*keeper
	secret *secretStore

	// rotation is what was used last.
	rotation atomic.Pointer[rotation]
	// strayed is since when clients cannot verify the certificate.
	strayed atomic.Pointer[time.Time]
	// published is since when the CAs of the Secret have been in it; of Start alone.
	published map[caID]time.Time
}

var _ Source = (*SelfSigned)(nil)

// NewSelfSigned returns a source that has no certificate before it is started.
func NewSelfSigned(client kubernetes.Interface, opts SelfSignedOptions) (*SelfSigned, error) {
	keeper, err := newKeeper(client, opts.Options, opts.ValidatingConfiguration, opts.MutatingConfiguration)
	if err != nil {
		return nil, err
	}
	if opts.Namespace == "" || opts.Secret == "" {
		return nil, errNoSecretName
	}
	keeper.about = aboutSecret(opts.Namespace, opts.Secret)
	s := &SelfSigned{keeper: keeper, secret: &secretStore{
		client: client, namespace: opts.Namespace, name: opts.Secret, writes: keeper.targets.writes,
		informer: corev1informers.NewFilteredSecretInformer(client, opts.Namespace, 0, nil, only(opts.Secret)),
	}}
	s.strayed.Store(new(time.Time)) // until it is known better
	return s, nil
}

// only limits a watch to the object of a name.
func only(name string) func(*metav1.ListOptions) {
	return func(options *metav1.ListOptions) {
		options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// CABundle returns, in PEM, the CAs that clients shall trust; nil if none is
// known yet.
func (s *SelfSigned) CABundle() []byte {
	if r := s.rotation.Load(); r != nil {
		return r.keys.bundle()
	}
	return nil
}

// Targets returns the state of the webhook configurations, as far as it is known.
func (s *SelfSigned) Targets() []Target { return s.Status().Targets }

// Status returns the status as this replica knows it.
func (s *SelfSigned) Status() *Status {
	v := view{mode: ModeSelf, cert: s.current.Load(), seen: s.targets.peek(), meter: s.meter}
	if used := s.rotation.Load(); used != nil {
		v.rotation, v.cas = *used, used.keys.authorities()
	}
	return v.status()
}

// Healthy reports whether there is a certificate that is valid now, and that
// the CA bundles of the webhook configurations verify, or did a minute ago: who
// takes the CA away for a moment does not take the server away.
func (s *SelfSigned) Healthy() bool {
	const grace = time.Minute
	if since := s.strayed.Load(); since != nil && s.opts.Clock.Since(*since) > grace {
		return false
	}
	current := s.current.Load()
	return current != nil && slices.ContainsFunc(s.meter.times(), func(now time.Time) bool {
		return validAt(current.Leaf, now) == nil
	})
}

// Start keeps Secret, webhook configurations and certificate up to date until
// ctx is done.
func (s *SelfSigned) Start(ctx context.Context) error {
	return s.run(ctx, s.opts.periods.tick, append(s.informers(), s.secret.informer), s)
}
