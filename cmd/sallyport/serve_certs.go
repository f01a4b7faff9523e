// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook"
)

// The values of --cert-mode.
const (
	certModeSelf  = "self"
	certModeFiles = "files"
)

// certFlags say where the certificates come from: those of the server and those
// of its callers.
type certFlags struct {
	mode     string
	secret   string
	certFile string
	keyFile  string
	caFile   string

	clientCAFile string
	clientNames  []string
}

func (f *certFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.mode, "cert-mode", certModeSelf, "`who` issues the certificate: self, or whoever writes the files")
	flags.StringVar(&f.secret, "secret", "sallyport-certs", "`name` of the Secret with the certificate")
	flags.StringVar(&f.certFile, "tls-cert-file", "", "`file` with the certificate, followed by intermediate CAs, for --cert-mode files")
	flags.StringVar(&f.keyFile, "tls-private-key-file", "", "`file` with its private key")
	flags.StringVar(&f.caFile, "ca-file", "", "`file` with the CA for the webhook configurations; without one, they are left as they are")
	flags.StringVar(&f.clientCAFile, "client-ca-file", "", "`file` with the CA of callers; if set, the API server must show a certificate")
	flags.StringSliceVar(&f.clientNames, "client-allowed-names", nil, "common `names` that callers may have; empty for any")
}

// check refuses flags that would have no effect.
func (f *certFlags) check(standalone bool) error {
	files := f.certFile != "" || f.keyFile != "" || f.caFile != ""
	switch {
	case f.mode != certModeSelf && f.mode != certModeFiles:
		return fmt.Errorf("--cert-mode %q: want self or files", f.mode)
	case standalone && f.mode != certModeSelf:
		return errors.New("--standalone has a CA in memory, and no other --cert-mode")
	case f.mode == certModeFiles && (f.certFile == "" || f.keyFile == ""):
		return errors.New("--cert-mode files needs --tls-cert-file and --tls-private-key-file")
	case f.mode != certModeFiles && files:
		return errors.New("--tls-cert-file, --tls-private-key-file and --ca-file are for --cert-mode files")
	case f.clientCAFile == "" && len(f.clientNames) > 0:
		return errors.New("--client-allowed-names needs --client-ca-file")
	}
	return nil
}

// source returns the source of the serving certificate.
func (f *certFlags) source(client kubernetes.Interface, namespace string, opts certs.Options, webhooks string) (certs.Source, error) {
	switch f.mode {
	case certModeFiles:
		return certs.NewFiles(client, certs.FilesOptions{
			Options: opts, CertFile: f.certFile, KeyFile: f.keyFile, CAFile: f.caFile,
			ValidatingConfiguration: webhooks, MutatingConfiguration: webhooks,
		})
	default:
		return certs.NewSelfSigned(client, certs.SelfSignedOptions{
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
