// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
)

// The bundles may still be ours, from the time of another injector: to annotate
// as the same field manager would remove them.
var annotateOptions = metav1.ApplyOptions{FieldManager: fieldManager + "-annotation", Force: true}

// annotate makes cainjector look after the webhook configurations.
func (c *CertManager) annotate(ctx context.Context) error {
	var errs []error
	for _, target := range c.trust.all {
		if err := c.annotateOne(ctx, target); err != nil {
			errs = append(errs, fmt.Errorf("annotate %s %s for cainjector: %w", target.kind, target.name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *CertManager) annotateOne(ctx context.Context, target *target) error {
	object, found, err := target.informer.GetStore().GetByKey(target.name)
	if err != nil || !found {
		return err // its informer will tell
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	certificate := c.opts.Namespace + "/" + c.opts.Secret
	if accessor.GetAnnotations()[cmapi.WantInjectAnnotation] == certificate {
		return nil
	}
	if !c.trust.writes.TryAccept() {
		return errTooManyWrites
	}
	annotations := map[string]string{cmapi.WantInjectAnnotation: certificate}
	api := c.client.AdmissionregistrationV1()
	if target.kind == "ValidatingWebhookConfiguration" {
		apply := applyv1.ValidatingWebhookConfiguration(target.name).WithUID(accessor.GetUID()).WithAnnotations(annotations)
		_, err = api.ValidatingWebhookConfigurations().Apply(ctx, apply, annotateOptions)
	} else {
		apply := applyv1.MutatingWebhookConfiguration(target.name).WithUID(accessor.GetUID()).WithAnnotations(annotations)
		_, err = api.MutatingWebhookConfigurations().Apply(ctx, apply, annotateOptions)
	}
	if err == nil {
		logr.FromContextOrDiscard(ctx).Info("Left the injection to cainjector", "kind", target.kind, "name", target.name)
	}
	return err
}
