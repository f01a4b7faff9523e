// SPDX-License-Identifier: Apache-2.0

package authorizationpolicy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	security "istio.io/api/security/v1beta1"
	securityv1 "istio.io/client-go/pkg/apis/security/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/authorizationpolicy"
)

func TestRules(t *testing.T) { analysistest.Run(t, authorizationpolicy.Rules) }

// TestUnknownServiceEntries has a policy that only ServiceEntries can tell to be
// inert, of which none are known.
func TestUnknownServiceEntries(t *testing.T) {
	suite, err := analysis.NewSuite(authorizationpolicy.Rules...)
	require.NoError(t, err)
	for host, want := range map[string]bool{"api.example.com": true, "api": false} {
		res := analysis.Check(suite, analysis.Input{Object: &securityv1.AuthorizationPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "deny"},
			Spec: security.AuthorizationPolicy{Action: security.AuthorizationPolicy_ALLOW, Rules: []*security.Rule{
				{To: []*security.Rule_To{{Operation: &security.Operation{Hosts: []string{host}}}}},
			}},
		}})
		require.Equal(t, want, slices.ContainsFunc(res.NotEvaluated, func(n analysis.NotEvaluated) bool {
			return n.Rule.Name == "authorizationpolicy/inert"
		}), host)
	}
}
