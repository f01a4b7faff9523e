// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/flowcontrol"
)

const (
	// ownerLabel marks a Secret as ours, by the mode.
	ownerLabel      = "sallyport.dev/certs"
	ownerSelfSigned = "self-signed"
	// phaseAnnotation says how far a rotation of the CA is.
	phaseAnnotation = "sallyport.dev/ca-phase"
	// retireAnnotation says when the last leaf of the old CA has ended.
	retireAnnotation = "sallyport.dev/ca-retire-after"
)

// A secretStore keeps a rotation in a Secret, which other replicas write too.
type secretStore struct {
	client          kubernetes.Interface
	namespace, name string
	informer        cache.SharedIndexInformer
	writes          flowcontrol.RateLimiter
}

var errNoSecretName = errors.New("certificate: the namespace and the name of a Secret are required")

func aboutSecret(namespace, name string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: namespace, Name: name}
}

var errForeignSecret = errors.New("it is somebody else's: remove it, or use another name")

// rotationIn returns what the Secret holds, if it is ours.
func rotationIn(secret *corev1.Secret) (rotation, error) {
	if secret.ResourceVersion != "" && secret.Labels[ownerLabel] != ownerSelfSigned {
		return rotation{}, fmt.Errorf("secret %s/%s has no label %s=%s, so %w",
			secret.Namespace, secret.Name, ownerLabel, ownerSelfSigned, errForeignSecret)
	}
	r := rotation{keys: secret.Data, phase: parsePhase(secret.Annotations[phaseAnnotation])}
	if at, err := time.Parse(time.RFC3339, secret.Annotations[retireAnnotation]); err == nil {
		r.retireAfter = at
	}
	return r, nil
}

// cached returns the rotation that is known without asking, empty if there is none.
func (s *secretStore) cached() rotation {
	object, found, err := s.informer.GetStore().GetByKey(s.namespace + "/" + s.name)
	if err != nil || !found {
		return rotation{}
	}
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return rotation{}
	}
	r, err := rotationIn(secret)
	if err != nil {
		return rotation{}
	}
	return r
}

// read asks for the Secret, which is empty if there is none.
func (s *secretStore) read(ctx context.Context) (*corev1.Secret, error) {
	secret, err := s.client.CoreV1().Secrets(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secret %s/%s: %w", s.namespace, s.name, err)
	}
	return secret, nil
}

// lostRace reports whether another writer was faster.
func lostRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

// write puts the rotation into the Secret, unless that has changed since it was
// read. Data that is not ours is kept.
func (s *secretStore) write(ctx context.Context, old *corev1.Secret, r rotation) (*corev1.Secret, error) {
	if !s.writes.TryAccept() {
		return nil, errTooManyWrites
	}
	secret := old.DeepCopy()
	r.into(secret)
	secrets := s.client.CoreV1().Secrets(s.namespace)
	if old.ResourceVersion != "" {
		written, err := secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
		if err != nil {
			return nil, fmt.Errorf("update secret %s/%s: %w", s.namespace, s.name, err)
		}
		return written, nil
	}
	secret.Name, secret.Namespace, secret.Type = s.name, s.namespace, corev1.SecretTypeTLS
	metav1.SetMetaDataLabel(&secret.ObjectMeta, ownerLabel, ownerSelfSigned)
	written, err := secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, fmt.Errorf("create secret %s/%s: %w", s.namespace, s.name, err)
	}
	return written, nil
}

// into sets what is ours in the Secret.
func (r rotation) into(secret *corev1.Secret) {
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	delete(secret.Data, nextKey)
	maps.Copy(secret.Data, r.keys)
	metav1.SetMetaDataAnnotation(&secret.ObjectMeta, phaseAnnotation, string(r.phase))
	delete(secret.Annotations, retireAnnotation)
	if !r.retireAfter.IsZero() {
		metav1.SetMetaDataAnnotation(&secret.ObjectMeta, retireAnnotation, r.retireAfter.UTC().Format(time.RFC3339))
	}
}
