// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
)

type doctorFlags struct {
	access   clusterFlags
	service  string
	mode     string
	secret   string
	webhooks string
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
certificate is valid, when it is renewed, how far a rotation of the CA is, whether
each webhook trusts what is served, and whether clocks differ.

It changes nothing. It needs the permission to get the Secret and the webhook
configurations; what it cannot look at, it says. It exits with 0 if all is well, 1 if
something is wrong, 3 if something could not be looked at, and 4 if the cluster does
not answer.`,
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
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return usageError(err)
	}
	if err := client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return &exitError{code: exitCluster, err: fmt.Errorf("ask the API server: %w", err)}
	}
	found := newDiagnosis(certs.Inspect(ctx, client, *opts))
	write := found.writeText
	if f.output == "json" {
		write = found.writeJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	return found.verdict()
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
