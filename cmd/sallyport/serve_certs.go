// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	cmclient "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned"
	"github.com/spf13/pflag"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook"
)

// certModes are the values of --cert-mode.
var certModes = []string{string(certs.ModeSelf), string(certs.ModeCertManager), string(certs.ModeFiles)}

// certFlags say where the certificates come from: those of the server and those
// of its callers.
type certFlags struct {
	mode     string
	secret   string
	certFile string
	keyFile  string
	caFile   string

	issuer     string
	caInjector bool

	clientCAFile string
	clientNames  []string
}

func (f *certFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "cert-mode", string(certs.ModeSelf), "`who` issues the certificate: "+enumeration(certModes))
	flags.StringVar(&f.secret, "secret", defaultSecret, "`name` of the Secret with the certificate, for all modes but files")
	flags.StringVar(&f.issuer, "issuer", "", "`kind/name` of the issuer for --cert-mode cert-manager, such as ClusterIssuer/corporate or KIND.GROUP/NAME (default a CA of its own)")
	flags.BoolVar(&f.caInjector, "cainjector", false, "leave the CA in the webhook configurations to cert-manager's cainjector, from v1.21 on")
	flags.StringVar(&f.certFile, "tls-cert-file", "", "`file` with the certificate, followed by intermediate CAs, for --cert-mode files")
	flags.StringVar(&f.keyFile, "tls-private-key-file", "", "`file` with its private key")
	flags.StringVar(&f.caFile, "ca-file", "", "`file` with the CA for the webhook configurations; without one, they are left as they are")
	flags.StringVar(&f.clientCAFile, "client-ca-file", "", "`file` with the CA of callers; if set, the API server must show a certificate")
	flags.StringSliceVar(&f.clientNames, "client-allowed-names", nil, "common `names` that callers may have; empty for any")
}

// check refuses flags that would have no effect.
func (f *certFlags) check(standalone bool) error {
	mode := certs.Mode(f.mode)
	switch {
	case !slices.Contains(certModes, f.mode):
		return fmt.Errorf("--cert-mode %q: want %s", f.mode, enumeration(certModes))
	case standalone && mode != certs.ModeSelf:
		return errors.New("--standalone has a CA in memory, and no other --cert-mode")
	case mode == certs.ModeFiles && (f.certFile == "" || f.keyFile == ""):
		return errors.New("--cert-mode files needs --tls-cert-file and --tls-private-key-file")
	case mode != certs.ModeFiles && f.certFile+f.keyFile+f.caFile != "":
		return errors.New("--tls-cert-file, --tls-private-key-file and --ca-file are for --cert-mode files")
	case mode != certs.ModeCertManager && (f.issuer != "" || f.caInjector):
		return errors.New("--issuer and --cainjector are for --cert-mode cert-manager")
	case f.clientCAFile == "" && len(f.clientNames) > 0:
		return errors.New("--client-allowed-names needs --client-ca-file")
	}
	_, err := f.issuerRef()
	return err
}

// issuerRef returns the issuer of --issuer; nil without one.
func (f *certFlags) issuerRef() (*cmmeta.IssuerReference, error) {
	if f.issuer == "" {
		return nil, nil
	}
	kind, name, ok := strings.Cut(f.issuer, "/")
	kind, group, _ := strings.Cut(kind, ".")
	if !ok || kind == "" || name == "" {
		return nil, fmt.Errorf("--issuer %q: want KIND/NAME or KIND.GROUP/NAME", f.issuer)
	}
	return &cmmeta.IssuerReference{Kind: kind, Group: group, Name: name}, nil
}

// source returns the source of the serving certificate.
func (f *certFlags) source(api *api, namespace string, opts certs.Options, webhooks string) (certs.Source, error) {
	switch certs.Mode(f.mode) {
	case certs.ModeFiles:
		return certs.NewFiles(api.core, certs.FilesOptions{
			Options: opts, CertFile: f.certFile, KeyFile: f.keyFile, CAFile: f.caFile,
			ValidatingConfiguration: webhooks, MutatingConfiguration: webhooks,
		})
	case certs.ModeCertManager:
		issuer, err := f.issuerRef()
		if err != nil {
			return nil, err
		}
		certManager, err := cmclient.NewForConfig(api.config)
		if err != nil {
			return nil, err
		}
		return certs.NewCertManager(api.core, certManager, certs.CertManagerOptions{
			Options: opts, Namespace: namespace, Secret: f.secret, Issuer: issuer, CAInjector: f.caInjector,
			ValidatingConfiguration: webhooks, MutatingConfiguration: webhooks,
		})
	default:
		return certs.NewSelfSigned(api.core, certs.SelfSignedOptions{
			Options: opts, Namespace: namespace, Secret: f.secret,
			ValidatingConfiguration: webhooks, MutatingConfiguration: webhooks,
		})
	}
}

// clients completes the options with who may call.
func (f *certFlags) clients(opts *webhook.Options) ([]task, error) {
	if f.clientCAFile == "" {
		return nil, nil
	}
	ca, err := certs.NewClientCA(certs.ClientCAOptions{File: f.clientCAFile, AllowedNames: f.clientNames})
	if err != nil {
		return nil, usageError(err)
	}
	if opts.Ready == nil {
		opts.Ready = map[string]func(context.Context) error{}
	}
	opts.ClientCA = ca
	opts.Ready["client CA"] = func(context.Context) error {
		if !ca.Ready() {
			return fmt.Errorf("%s has not been read yet", f.clientCAFile)
		}
		return nil
	}
	return []task{ca.Start}, nil
}
