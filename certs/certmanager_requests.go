// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	applycmv1 "github.com/cert-manager/cert-manager/pkg/client/applyconfigurations/certmanager/v1"
	applycmmeta "github.com/cert-manager/cert-manager/pkg/client/applyconfigurations/meta/v1"
	cmclient "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Requests are the objects by which cert-manager is asked for a certificate.
type requests struct {
	client cmclient.Interface
	all    []*request
}

// A request is one of these objects.
type request struct {
	kind, namespace, name string
	// applied says that the object was there as it should be. It is not applied
	// again as long as it exists: replicas with other names would never agree.
	applied bool
	get     func(ctx context.Context) error
	apply   func(ctx context.Context) error
}

// newRequests returns what a certificate takes: the last is its Certificate, and
// those before make its CA if it has no other issuer.
func newRequests(client cmclient.Interface, opts *CertManagerOptions) *requests {
	r := &requests{client: client}
	issuer, life := opts.Issuer, newProfile(opts.DNSNames)
	if issuer == nil {
		root, ca := opts.Secret+"-selfsigned", opts.Secret+"-ca"
		r.addIssuer(applycmv1.Issuer(root, opts.Namespace).WithSpec(applycmv1.IssuerSpec().WithSelfSigned(applycmv1.SelfSignedIssuer())))
		r.addCertificate(applycmv1.Certificate(ca, opts.Namespace).WithSpec(spec(ca, life.caLife, own(root)).
			WithIsCA(true).WithCommonName("sallyport-ca").WithUsages(cmapi.UsageDigitalSignature, cmapi.UsageCertSign)))
		r.addIssuer(applycmv1.Issuer(ca, opts.Namespace).WithSpec(applycmv1.IssuerSpec().WithCA(applycmv1.CAIssuer().WithSecretName(ca))))
		issuer = own(ca)
	}
	r.addCertificate(applycmv1.Certificate(opts.Secret, opts.Namespace).WithSpec(spec(opts.Secret, life.leafLife, issuer).
		WithDNSNames(opts.DNSNames...).WithUsages(cmapi.UsageDigitalSignature, cmapi.UsageServerAuth)))
	return r
}

// labels are those of all that cert-manager is asked for, so that it is found when it is
// to go.
var labels = map[string]string{"app.kubernetes.io/name": "sallyport"}

func own(name string) *cmmeta.IssuerReference {
	return &cmmeta.IssuerReference{Name: name, Kind: cmapi.IssuerKind, Group: cmapi.SchemeGroupVersion.Group}
}

func spec(secret string, life time.Duration, issuer *cmmeta.IssuerReference) *applycmv1.CertificateSpecApplyConfiguration {
	ref := applycmmeta.IssuerReference().WithName(issuer.Name)
	if issuer.Kind != "" {
		ref.WithKind(issuer.Kind)
	}
	if issuer.Group != "" {
		ref.WithGroup(issuer.Group)
	}
	key := applycmv1.CertificatePrivateKey().WithAlgorithm(cmapi.ECDSAKeyAlgorithm).WithSize(256).WithRotationPolicy(cmapi.RotationPolicyAlways)
	return applycmv1.CertificateSpec().WithSecretName(secret).WithSecretTemplate(applycmv1.CertificateSecretTemplate().WithLabels(labels)).WithDuration(metav1.Duration{Duration: life}).
		WithIssuerRef(ref).WithPrivateKey(key).WithRevisionHistoryLimit(1)
}

func (r *requests) addIssuer(issuer *applycmv1.IssuerApplyConfiguration) {
	issuer.WithLabels(labels)
	issuers, name := r.client.CertmanagerV1().Issuers(*issuer.Namespace), *issuer.Name
	r.all = append(r.all, &request{
		kind: cmapi.IssuerKind, namespace: *issuer.Namespace, name: name,
		get: func(ctx context.Context) error {
			_, err := issuers.Get(ctx, name, metav1.GetOptions{})
			return err
		},
		apply: func(ctx context.Context) error {
			_, err := issuers.Apply(ctx, issuer, applyOptions)
			return err
		},
	})
}

func (r *requests) addCertificate(certificate *applycmv1.CertificateApplyConfiguration) {
	certificate.WithLabels(labels)
	certificates, name := r.client.CertmanagerV1().Certificates(*certificate.Namespace), *certificate.Name
	r.all = append(r.all, &request{
		kind: cmapi.CertificateKind, namespace: *certificate.Namespace, name: name,
		get: func(ctx context.Context) error {
			found, err := certificates.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return checkReady(found)
		},
		apply: func(ctx context.Context) error {
			applied, err := certificates.Apply(ctx, certificate, applyOptions)
			if err != nil {
				return err
			}
			return checkReady(applied)
		},
	})
}

// errNotReady is what can pass by itself.
var errNotReady = errors.New("not ready")

// checkReady returns why cert-manager is not done with what is asked for now.
func checkReady(certificate *cmapi.Certificate) error {
	for _, condition := range certificate.Status.Conditions {
		switch {
		case condition.Type != cmapi.CertificateConditionReady:
			continue
		case condition.ObservedGeneration != certificate.Generation:
			return fmt.Errorf("%w: cert-manager has not seen its last change", errNotReady)
		case condition.Status != cmmeta.ConditionTrue:
			return fmt.Errorf("%w: %s", errNotReady, condition.Message)
		}
		return nil
	}
	return fmt.Errorf("%w: cert-manager has not seen it", errNotReady)
}

// ensure makes all objects exist, and returns why there is no certificate yet.
func (r *requests) ensure(ctx context.Context) error {
	var errs []error
	for _, request := range r.all {
		if err := request.ensure(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s %s/%s: %w", request.kind, request.namespace, request.name, err))
		}
	}
	err := errors.Join(errs...)
	if apierrors.IsNotFound(err) && r.absent() {
		return fmt.Errorf("%w: %w", errNoCertManager, err)
	}
	return err
}

func (r *request) ensure(ctx context.Context) error {
	if r.applied {
		if err := r.get(ctx); !apierrors.IsNotFound(err) {
			return err
		}
	}
	err := r.apply(ctx)
	r.applied = err == nil || errors.Is(err, errNotReady)
	if r.applied {
		logr.FromContextOrDiscard(ctx).Info("Asked cert-manager", "kind", r.kind, "name", r.namespace+"/"+r.name)
	}
	return err
}

var errNoCertManager = fmt.Errorf("the API server knows no %s: install cert-manager, or choose another mode", cmapi.SchemeGroupVersion)

// absent reports whether cert-manager's API is not there.
func (r *requests) absent() bool {
	_, err := r.client.Discovery().ServerResourcesForGroupVersion(cmapi.SchemeGroupVersion.String())
	return apierrors.IsNotFound(err)
}
