// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// InspectOptions say what [Inspect] looks at.
type InspectOptions struct {
	// Mode is who issues the certificate. Empty: whose the Secret is. // optional
	Mode Mode
	// DNSNames are the names by which the server is called. Empty: those of the
	// certificate. // optional
	DNSNames []string
	// Namespace and Secret name the Secret, which mode files does not have.
	Namespace, Secret string
	// ValidatingConfiguration and MutatingConfiguration name the webhook
	// configurations. Empty is none. // optional
	ValidatingConfiguration, MutatingConfiguration string
	// Clock is the time; nil is the system's. // optional
	Clock clock.WithTicker
}

// Inspect returns the status of the sources as one can see it from outside. It
// writes nothing, and needs the permission to get the Secret and the webhook
// configurations. In mode files nobody outside sees the certificate, but only the
// CAs.
func Inspect(ctx context.Context, client kubernetes.Interface, opts InspectOptions) *Status {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	found := &inspection{InspectOptions: opts}
	v := view{mode: opts.Mode, meter: &skewMeter{client: client, clock: opts.Clock}, outside: true}
	_, err := v.meter.measure(ctx)
	found.missed(err)

	v.seen = newTargets(client, opts.ValidatingConfiguration, opts.MutatingConfiguration, nil).peek()
	found.missed(v.seen.ask(ctx, opts.Clock.Now()))
	v.seen = slices.DeleteFunc(v.seen, func(g glance) bool { return !g.synced })
	if v.mode == ModeFiles {
		v.cas = v.seen.authorities()
	} else {
		secret, err := (&secretStore{client: client, namespace: opts.Namespace, name: opts.Secret}).read(ctx)
		found.missed(err)
		if err == nil {
			found.wrong(found.read(&v, secret))
		}
	}
	s := v.status()
	s.Problems = append(s.Problems, found.problems...)
	s.Unknown = found.unknown
	return s
}

// An inspection collects what is found.
type inspection struct {
	InspectOptions
	problems, unknown []string
}

// missed takes note of what could not be looked at.
func (i *inspection) missed(err error) {
	for _, err := range separate(err) {
		i.unknown = append(i.unknown, err.Error())
	}
}

func (i *inspection) wrong(err error) {
	for _, err := range separate(err) {
		i.problems = append(i.problems, err.Error())
	}
}

// separate returns the errors that [errors.Join] has joined.
func separate(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// read adds what the Secret holds to the view.
func (i *inspection) read(v *view, secret *corev1.Secret) error {
	name := i.Namespace + "/" + i.Secret
	if secret.ResourceVersion == "" {
		return fmt.Errorf("there is no secret %s: no server has made it yet, or its mode is another", name)
	}
	if v.mode == "" {
		v.mode = modeOf(secret)
	}
	var err error
	switch v.mode {
	case ModeSelf:
		if v.rotation, err = rotationIn(secret); err == nil {
			v.cas = v.rotation.keys.authorities()
			v.cert, err = pairIn(secret)
		}
	case ModeCertManager:
		v.cert, err = pairIn(secret)
		v.cas = parseBundle(secret.Data[cmmeta.TLSCAKey])
	default:
		return fmt.Errorf("secret %s is neither of Sallyport nor of cert-manager, so %w", name, errForeignSecret)
	}
	if err != nil {
		return fmt.Errorf("the certificate of secret %s: %w", name, err)
	}
	names := i.DNSNames
	if len(names) == 0 {
		names = v.cert.Leaf.DNSNames
	}
	if err = (&issued{cert: v.cert, cas: v.cas}).check(names, v.meter.times()...); err != nil {
		return fmt.Errorf("the certificate of secret %s does not verify: %w", name, err)
	}
	return nil
}

// modeOf returns whose the Secret is.
func modeOf(secret *corev1.Secret) Mode {
	switch {
	case secret.Labels[ownerLabel] == ownerSelfSigned:
		return ModeSelf
	case secret.Annotations[cmapi.CertificateNameKey] != "":
		return ModeCertManager
	}
	return ""
}

func pairIn(secret *corev1.Secret) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(secret.Data[leafCert], secret.Data[leafKey])
	if err != nil {
		return nil, err
	}
	return &pair, nil
}
