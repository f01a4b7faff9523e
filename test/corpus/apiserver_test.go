// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// TestAPIServer takes all cases through a real API server with Istio's CRDs: it
// takes what the rules allow, and refuses what they deny for the same fields and
// rules. Each case is judged by a webhook with its own policy, configuration and
// mesh.
//
// Left out are objects that say when they were created: the API server says that
// itself.
func TestAPIServer(t *testing.T) {
	suite := newSuite(t)
	server := startServer(t)
	for _, c := range load(t) {
		if created := c.Document.Object.GetCreationTimestamp(); !created.IsZero() {
			continue
		}
		t.Run(c.String(), func(t *testing.T) {
			if c.PolicyData != nil {
				c.Policy = server.policyOf(t, c)
			}
			want := only(byEngine(t, suite, c), policy.Deny)
			if c.Old != nil {
				server.webhook.Store(nil)
				old, err := json.Marshal(c.Old)
				require.NoError(t, err)
				server.create(t, c, old, metav1.CreateOptions{})
				defer server.delete(t, c)
			}
			server.webhook.Store(new(handlerFor(t, suite, c)))
			require.Equal(t, want, server.send(t, c))
		})
	}
}

// apiServer is a control plane whose webhook can be exchanged.
type apiServer struct {
	client     dynamic.Interface
	kubernetes kubernetes.Interface
	webhook    atomic.Pointer[http.Handler] // nil admits everything
	namespaces []string
}

func startServer(t *testing.T) *apiServer {
	t.Helper()
	controlPlane, err := cluster.Start(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, controlPlane.Stop()) })
	config := rest.CopyConfig(controlPlane.Config)
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = -1, 0
	s := &apiServer{}
	s.client, err = dynamic.NewForConfig(config)
	require.NoError(t, err)
	s.kubernetes, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	var reviews atomic.Int64
	endpoint := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reviews.Add(1)
		s.serve(w, r)
	}))
	t.Cleanup(endpoint.Close)
	require.NoError(t, sallyport.Register(t.Context(), config, endpoint.URL, sallyport.Configurations{
		CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: endpoint.Certificate().Raw}),
	}))
	s.waitUntilAsked(t, &reviews)
	return s
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	if h := s.webhook.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	var review map[string]any
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request, _ := review["request"].(map[string]any)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": review["apiVersion"], "kind": review["kind"],
		"response": map[string]any{"uid": request["uid"], "allowed": true},
	})
}

// waitUntilAsked waits until the API server asks about every kind.
func (s *apiServer) waitUntilAsked(t *testing.T, reviews *atomic.Int64) {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": map[string]any{"name": "ask"}, "spec": map[string]any{},
	}}
	policies := s.client.Resource(object.GroupVersionKind().GroupVersion().WithResource("authorizationpolicies")).Namespace("default")
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := policies.Create(ctx, object.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return reviews.Load() > 0, err
	})
	require.NoError(t, err)
}

// policyOf returns the policy of a case, made of the objects as the API server
// stores them: with its pruning and defaults.
func (s *apiServer) policyOf(t *testing.T, c *analysistest.Case) *policy.Policy {
	t.Helper()
	var documents, stored policy.Documents
	require.NoError(t, documents.Parse("policy.yaml", c.PolicyData))
	stored.Namespaces = documents.Namespaces
	for _, p := range documents.Policies {
		stored.Policies = append(stored.Policies, roundTrip(t, s, "egresspolicies", p))
	}
	for _, e := range documents.Exemptions {
		stored.Exemptions = append(stored.Exemptions, roundTrip(t, s, "egressexemptions", e))
	}
	policyFor, err := stored.Compile()
	require.NoError(t, err)
	return policyFor(c.Document.Object.GetNamespace())
}

func roundTrip[T any](t *testing.T, s *apiServer, resource string, object *T) *T {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	require.NoError(t, err)
	delete(content, "status")
	stored, err := s.client.Resource(v1alpha1.GroupVersion.WithResource(resource)).
		Create(t.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.NoError(t, err)
	typed := new(T)
	require.NoError(t, runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, typed))
	return typed
}

func (s *apiServer) resource(t *testing.T, c *analysistest.Case) dynamic.ResourceInterface {
	t.Helper()
	namespace := c.Document.Object.GetNamespace()
	if !slices.Contains(s.namespaces, namespace) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if _, err := s.kubernetes.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			require.NoError(t, err)
		}
		s.namespaces = append(s.namespaces, namespace)
	}
	gvr := c.Document.GVK.GroupVersion().WithResource(c.Document.Kind.Resource)
	return s.client.Resource(gvr).Namespace(namespace)
}

func decode(t *testing.T, raw []byte) *unstructured.Unstructured {
	t.Helper()
	object := new(unstructured.Unstructured)
	require.NoError(t, json.Unmarshal(raw, &object.Object))
	return object
}

func (s *apiServer) create(t *testing.T, c *analysistest.Case, raw []byte, opts metav1.CreateOptions) {
	t.Helper()
	_, err := s.resource(t, c).Create(t.Context(), decode(t, raw), opts)
	require.NoError(t, err)
}

func (s *apiServer) delete(t *testing.T, c *analysistest.Case) {
	t.Helper()
	require.NoError(t, s.resource(t, c).Delete(t.Context(), c.Document.Object.GetName(), metav1.DeleteOptions{}))
}

// send creates or updates the object of a case without keeping it, and returns the
// fields and rules for which it is refused.
func (s *apiServer) send(t *testing.T, c *analysistest.Case) []string {
	t.Helper()
	object := decode(t, c.Document.Raw)
	dryRun := []string{metav1.DryRunAll}
	var err error
	if c.Old == nil {
		_, err = s.resource(t, c).Create(t.Context(), object, metav1.CreateOptions{DryRun: dryRun})
	} else {
		var current *unstructured.Unstructured
		current, err = s.resource(t, c).Get(t.Context(), object.GetName(), metav1.GetOptions{})
		require.NoError(t, err)
		object.SetResourceVersion(current.GetResourceVersion())
		_, err = s.resource(t, c).Update(t.Context(), object, metav1.UpdateOptions{DryRun: dryRun})
	}
	if err == nil {
		return nil
	}
	require.True(t, apierrors.IsInvalid(err), "%v", err)
	var got []string
	for _, cause := range err.(apierrors.APIStatus).Status().Details.Causes {
		text, err := parseCause(cause.Field, cause.Message)
		require.NoError(t, err)
		got = append(got, text)
	}
	slices.Sort(got)
	return got
}
