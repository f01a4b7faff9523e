// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/mesh"
)

// TestOwnHostsHideNobody: a tenant that has any number of hosts below a wildcard takes
// nobody's host with it.
func TestOwnHostsHideNobody(t *testing.T) {
	suite, err := analysis.NewSuite(All...)
	require.NoError(t, err)
	for _, own := range []int{0, 20, 400, 6000} {
		index := mesh.New(config.Default())
		declare := func(namespace, name, h string) *networkingv1.ServiceEntry {
			se := &networkingv1.ServiceEntry{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			se.Spec.Hosts = []string{h}
			se.Spec.Resolution = networking.ServiceEntry_DNS
			return se
		}
		for i := range own {
			index.Set(declare("tenant", fmt.Sprintf("e%d", i), fmt.Sprintf("a%d.example.org", i)))
		}
		index.Set(declare("victim", "bank", "z.example.org"))
		index.SetComplete(analysis.Kinds()...)
		vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "all"}}
		vs.Spec.Hosts = []string{"*.example.org"}
		for rule, obj := range map[string]analysis.Object{
			"serviceentry/host-owner": declare("tenant", "all", "*.example.org"), "virtualservice/host-owner": vs,
		} {
			var found []string
			for _, f := range analysis.Check(suite, analysis.Input{Object: obj, Mesh: index}).Findings {
				found = append(found, f.Rule.Name)
			}
			require.Contains(t, found, rule, "%d own hosts", own)
		}
	}
}
