// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Inspect returns the status of the [SelfSigned] sources with these options, as
// one can see it from outside. It writes nothing. What cannot be read is among the
// problems of the status; there is an error if that is everything.
//
// It needs the permission to get the Secret and the webhook configurations.
func Inspect(ctx context.Context, client kubernetes.Interface, opts SelfSignedOptions) (*Status, error) {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	now := opts.Clock.Now()
	store := &secretStore{client: client, namespace: opts.Namespace, name: opts.Secret}
	all := targets{all: targetsOf(client, &opts)}
	meter := &skewMeter{client: client, clock: opts.Clock}

	var r rotation
	secret, secretErr := store.read(ctx)
	if secretErr == nil {
		r, secretErr = rotationIn(secret)
	}
	seen := all.peek()
	targetErr := seen.ask(ctx, now)
	_, skewErr := meter.measure(ctx)
	if secretErr != nil && skewErr != nil && (targetErr != nil || len(seen) == 0) {
		return nil, errors.Join(secretErr, targetErr, skewErr)
	}
	s := newStatus(r, leafIn(r, opts.DNSNames, now), seen, meter)
	for _, err := range []error{secretErr, targetErr, skewErr} {
		if err != nil {
			s.Problems = append(s.Problems, err.Error())
		}
	}
	return s, nil
}

// leafIn returns the leaf that replicas serve or will serve.
func leafIn(r rotation, names []string, now time.Time) *x509.Certificate {
	cert, err := r.keys.leaf(names, now)
	if err != nil && cert == nil {
		return nil
	}
	return cert.Leaf
}
