// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/retry"
)

const (
	// ownerLabel marks a Secret as ours, by the mode.
	ownerLabel      = "sallyport.dev/certs"
	ownerSelfSigned = "self-signed"
	// phaseAnnotation says how far a rotation of the CA is.
	phaseAnnotation = "sallyport.dev/ca-phase"
	phaseSteady     = "steady"
)

// A secretStore keeps a keyring in a Secret, which other replicas write too.
type secretStore struct {
	client          kubernetes.Interface
	namespace, name string
	informer        cache.SharedIndexInformer
	writes          flowcontrol.RateLimiter
	opts            Options
}

// cached returns the keyring that is known without asking; nil if there is none.
func (s *secretStore) cached() keyring {
	object, found, err := s.informer.GetStore().GetByKey(s.namespace + "/" + s.name)
	if err != nil || !found {
		return nil
	}
	secret, ok := object.(*corev1.Secret)
	if !ok || s.checkOwner(secret) != nil {
		return nil
	}
	return secret.Data
}

// current reads the keyring from the API server and renews it if that is due. If
// it cannot be renewed, it is returned with an error, as it is.
func (s *secretStore) current(ctx context.Context) (keys keyring, err error) {
	err = retry.OnError(retry.DefaultRetry, lostRace, func() error {
		keys, err = s.tryCurrent(ctx)
		return err
	})
	return keys, err
}

// lostRace reports whether another writer was faster.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (s *secretStore) tryCurrent(ctx context.Context) (keyring, error) {
	secret, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	keys, now := keyring(secret.Data), s.opts.Clock.Now()
	reason := keys.check(s.opts.DNSNames, now)
	if reason == nil {
		return keys, nil
	}
	next, err := keys.renew(s.opts.DNSNames, now)
	if err != nil {
		return keys, err
	}
	if err := s.write(ctx, secret, next); err != nil {
		return keys, err
	}
	message := "Renewed certificate"
	if !bytes.Equal(keys[caKey], next[caKey]) {
		message = "Created CA"
	}
	logr.FromContextOrDiscard(ctx).Info(message, "secret", s.namespace+"/"+s.name, "reason", reason.Error())
	return next, nil
}

// read returns the Secret, which is empty if there is none, if it is ours.
func (s *secretStore) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := s.client.CoreV1().Secrets(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", s.namespace, s.name, err)
	}
	return secret, s.checkOwner(secret)
}

func (s *secretStore) checkOwner(secret *corev1.Secret) error {
	if secret.Labels[ownerLabel] != ownerSelfSigned {
		return fmt.Errorf("secret %s/%s has no label %s=%s, so it is somebody else's: remove it, or use another name",
			s.namespace, s.name, ownerLabel, ownerSelfSigned)
	}
	return nil
}

// write puts the keyring into the Secret, unless that has changed since it was
// read. Data that is not ours is kept.
func (s *secretStore) write(ctx context.Context, old *corev1.Secret, keys keyring) error {
	if !s.writes.TryAccept() {
		return errTooManyWrites
	}
	secret := old.DeepCopy()
	newCA := !bytes.Equal(secret.Data[caKey], keys[caKey])
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.Copy(secret.Data, keys)
	if newCA {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, phaseAnnotation, phaseSteady)
	}
	secrets := s.client.CoreV1().Secrets(s.namespace)
	if old.ResourceVersion != "" {
		if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager}); err != nil {
			return fmt.Errorf("update secret %s/%s: %w", s.namespace, s.name, err)
		}
		return nil
	}
	secret.Name, secret.Namespace, secret.Type = s.name, s.namespace, corev1.SecretTypeTLS
	metav1.SetMetaDataLabel(&secret.ObjectMeta, ownerLabel, ownerSelfSigned)
	if _, err := secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager}); err != nil {
		return fmt.Errorf("create secret %s/%s: %w", s.namespace, s.name, err)
	}
	return nil
}
