// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook/doctor"
)

type doctorFlags struct {
	access   clusterFlags
	service  string
	mode     string
	secret   string
	webhooks string
	expect   string
	account  string
	probe    string
	output   string
}

// doctorFormats are those of "sallyport doctor".
var doctorFormats = []string{"text", "json"}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with an installation",
		Long: `Look at an installation from outside and tell what is wrong with it: whether the
API server asks and heeds the answer, whether the certificate is valid and trusted,
how far a rotation of the CA is, whether the webhook configurations are as they were
installed, whether the server may do what it needs, which replicas there are and
whether they judge alike, and whether policies are in force.

It changes nothing: what it tries, an unsafe ServiceEntry, it tries in a dry run,
which metrics count. What it may not look at, it says. It exits with 0 if all is well,
1 if something is wrong, 3 if something could not be looked at, and 4 if the cluster
does not answer.`,
		Example: `  sallyport doctor
  sallyport doctor --kube-context production --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	f.access.add(flags)
	flags.StringVar(&f.service, "service", defaultService, "`namespace/name` of the Service in front of the server")
	flags.StringVar(&f.mode, "cert-mode", "", "`who` issues the certificate: "+enumeration(certModes)+" (default whose the Secret is)")
	flags.StringVar(&f.secret, "secret", defaultSecret, "`name` of the Secret with the certificate")
	flags.StringVar(&f.webhooks, "webhook-configuration", defaultConfigurations, "`name` of the webhook configurations")
	flags.StringVar(&f.expect, "expect", "", "`file` with the manifests of the webhook configurations (default the ConfigMap of the installation)")
	flags.StringVar(&f.account, "service-account", "sallyport", "`name` of the server's service account")
	flags.StringVar(&f.probe, "probe-namespace", "default", "`namespace` to try an unsafe object in")
	flags.StringVarP(&f.output, "output", "o", "text", "`format`: "+enumeration(doctorFormats))
	complete(cmd, "output", doctorFormats...)
	complete(cmd, "cert-mode", certModes...)
	return cmd
}

func (f *doctorFlags) run(ctx context.Context, stdout io.Writer) error {
	if !slices.Contains(doctorFormats, f.output) {
		return usageError(fmt.Errorf("--output %q: want %s", f.output, enumeration(doctorFormats)))
	}
	opts, err := f.certificates()
	if err != nil {
		return usageError(err)
	}
	config, err := f.access.config()
	if err != nil {
		return err
	}
	config.QPS = -1 // what is asked for permissions is quickly answered
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return usageError(err)
	}
	if err := client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return &exitError{code: exitCluster, err: fmt.Errorf("ask the API server: %w", err)}
	}
	examination, err := f.examination(config, client)
	if err != nil {
		return usageError(err)
	}
	certificates := certs.Inspect(ctx, client, *opts)
	examination.Mode = certificates.Mode
	found := newDiagnosis(certificates, doctor.Examine(ctx, *examination))
	write := found.writeText
	if f.output == "json" {
		write = found.writeJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	return found.verdict()
}

// examination says what else to look at.
func (f *doctorFlags) examination(config *rest.Config, client kubernetes.Interface) (*doctor.Options, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	namespace, _, err := parseService(f.service)
	if err != nil {
		return nil, err
	}
	opts := &doctor.Options{
		Client: client, Dynamic: objects, Namespace: namespace, ServiceAccount: f.account, Configurations: f.webhooks,
		Secret: f.secret, ProbeNamespace: f.probe, Now: time.Now(),
	}
	if f.expect != "" {
		opts.Want, err = readExpected(f.expect)
	}
	return opts, err
}

// certificates says where to look for them.
func (f *doctorFlags) certificates() (*certs.InspectOptions, error) {
	if f.mode != "" && !slices.Contains(certModes, f.mode) {
		return nil, fmt.Errorf("--cert-mode %q: want %s", f.mode, enumeration(certModes))
	}
	namespace, dnsName, err := parseService(f.service)
	if err != nil {
		return nil, err
	}
	return &certs.InspectOptions{
		Mode: certs.Mode(f.mode), DNSNames: []string{dnsName}, Namespace: namespace, Secret: f.secret,
		ValidatingConfiguration: f.webhooks, MutatingConfiguration: f.webhooks,
	}, nil
}
