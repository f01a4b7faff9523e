// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// reachability tries, in a dry run, whether the API server asks and heeds the answer.
func reachability(ctx context.Context, opts *Options) *Section {
	s := &Section{Name: "Reachability"}
	entries := opts.Dynamic.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "serviceentries"})
	_, err := entries.Namespace(opts.ProbeNamespace).Create(ctx, unsafeEntry(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	what := "a dry run of an unsafe ServiceEntry in namespace " + opts.ProbeNamespace
	switch {
	case err == nil:
		s.problem(fmt.Sprintf("%s was admitted: %s", what, whyAdmitted(ctx, opts)))
	case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "(serviceentry/"):
		s.fact(what + " was refused, as it should be")
	case strings.Contains(err.Error(), "failed calling webhook"):
		s.problem(fmt.Sprintf("%s could not be judged: %s; %s", what, err.Error(), whyUnreachable(err.Error())))
	default:
		s.missed(fmt.Errorf("try %s: %w", what, err))
	}
	return s
}

// unsafeEntry is refused by the catalogue whatever the mesh is: it is STATIC without
// endpoints.
func unsafeEntry() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
		"metadata": map[string]any{"generateName": "sallyport-doctor-"},
		"spec": map[string]any{
			"hosts": []any{"doctor.example.com"}, "resolution": "STATIC", "exportTo": []any{"."},
			"ports": []any{map[string]any{"number": int64(443), "name": "tls", "protocol": "TLS"}},
		},
	}}
}

func whyAdmitted(ctx context.Context, opts *Options) string {
	conf, err := opts.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, opts.Configurations, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("there is no ValidatingWebhookConfiguration %s, so nobody is asked; apply deploy/webhooks.yaml", opts.Configurations)
	case err != nil:
		return "why is not known: " + err.Error()
	case len(conf.Webhooks) == 0:
		return fmt.Sprintf("ValidatingWebhookConfiguration %s has no webhooks; apply deploy/webhooks.yaml", opts.Configurations)
	}
	w := &conf.Webhooks[0]
	if w.FailurePolicy != nil && *w.FailurePolicy == admissionregistrationv1.Ignore {
		return "failurePolicy is Ignore, so that everything is admitted while no server can be reached; look at the pods and at the API server's log"
	}
	if s := w.NamespaceSelector; s != nil && len(s.MatchLabels)+len(s.MatchExpressions) > 0 {
		return "the webhook's namespaceSelector may leave out this namespace; name one that is guarded with --probe-namespace"
	}
	return "a policy may only warn here (sallyport policy effective " + opts.ProbeNamespace + "), or the webhook configuration has drifted, see below"
}

// whyUnreachable says what to do about the API server's complaint.
func whyUnreachable(complaint string) string {
	switch {
	case strings.Contains(complaint, "no endpoints available"):
		return "no pod is ready: look at the Deployment and its pods' logs"
	case strings.Contains(complaint, "remote error: tls: internal error"):
		return "the server has no certificate yet, or no client CA: look at its log"
	case strings.Contains(complaint, "remote error: tls:"):
		return "the server does not accept the certificate that the API server shows, or it shows none: look at --client-ca-file, --client-allowed-names and the API server's --admission-control-config-file"
	case strings.Contains(complaint, "x509") || strings.Contains(complaint, "certificate"):
		return "the certificate is not trusted, see Certificates"
	case strings.Contains(complaint, "deadline exceeded") || strings.Contains(complaint, "Timeout"):
		return "something between the API server and the pods swallows calls: on managed clusters open the firewall from the control plane to port 9443 of the nodes, and look at NetworkPolicies"
	case strings.Contains(complaint, "connection refused"):
		return "no server listens there: look at the pods and at the Service's targetPort"
	case strings.Contains(complaint, "unable to handle the request"):
		return "the server is not ready or overloaded: look at its log"
	case strings.Contains(complaint, "not found"):
		return "the Service of the webhook configuration does not exist"
	}
	return "look at the server's log"
}
