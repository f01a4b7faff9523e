// SPDX-License-Identifier: Apache-2.0

package route

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const entry = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [%s]
  exportTo: ["."]
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
`

const routes = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [%[1]s]
  http:
  - match:
    - uri: {prefix: /v1}
    rewrite: {uri: /v2}
    route:
    - destination: {host: %[1]s}
  - route:
    - destination: {host: %[1]s}
    timeout: 2500ms # a spelling that Istio's types do not keep
`

// plain is a VirtualService that no policy refuses.
func plain(host string) string {
	return strings.Replace(fmt.Sprintf(routes, host), "hosts:", "exportTo: ['.']\n  hosts:", 1)
}

// both is what a team applies at once.
func both(host string) string { return fmt.Sprintf(entry, host) + "---" + fmt.Sprintf(routes, host) }

// legs returns how many routes a VirtualService has, and how many of them name the
// mesh or the gateway in all of their matches.
func legs(o object) (all, mesh, gateway int) {
	for _, kind := range []string{"http", "tls"} {
		list, _ := o.Spec[kind].([]any)
		for _, r := range list {
			all++
			text := fmt.Sprint(r)
			if strings.Contains(text, "gateways:[mesh]") {
				mesh++
			}
			if strings.Contains(text, "gateways:[istio-egress/egress]") {
				gateway++
			}
		}
	}
	return all, mesh, gateway
}

// requireLed requires that both routes are led, and that of TLS, with a leg for each
// protocol in front.
func requireLed(t *testing.T, o object) {
	t.Helper()
	all, mesh, gateway := legs(o)
	require.Equal(t, []int{5, 2, 3}, []int{all, mesh, gateway}, "%v", o.Spec)
	require.Equal(t, []any{"mesh", "istio-egress/egress"}, o.Spec["gateways"])
	require.Equal(t, []any{".", "istio-egress"}, o.Spec["exportTo"])
}

func requireNotLed(t *testing.T, o object) {
	t.Helper()
	_, mesh, gateway := legs(o)
	require.Zero(t, mesh+gateway, "%v", o.Spec)
	require.NotContains(t, fmt.Sprint(o.Spec["gateways"]), "istio-egress/egress")
	require.NotContains(t, o.Metadata.Annotations, "sallyport.dev/injected")
}

// TestOneFile: what stands in one file is led at once, although the server learns of
// the ServiceEntry by a watch.
func TestOneFile(t *testing.T) {
	s := newSpace(t, "inject")
	out := s.kubectl(both("one-file.example.com"), "apply", "-f", "-")
	require.Contains(t, out.stderr, "mutate/gateway-route: leads the routes through the egress gateway 'default'")
	o := s.get("virtualservice")
	requireLed(t, o)
	require.Contains(t, fmt.Sprint(o.Spec["http"]), "timeout:2500ms", "the user's spelling is kept")
	require.Contains(t, fmt.Sprint(o.Spec["http"]), "timeout:16s", "the mesh waits longer than the gateway, whose routes have the default of 15s")
	require.Equal(t, []any{".", "istio-egress"}, s.get("serviceentry").Spec["exportTo"])
}

// TestApply: whoever applies the original again, by whatever way, changes nothing.
func TestApply(t *testing.T) {
	for name, args := range map[string][]string{
		"client-side": {"apply"},
		"server-side": {"apply", "--server-side"},
		"replace":     {"replace"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t, "inject")
			host := name + ".example.com"
			s.kubectl(both(host), "apply", "-f", "-", "--server-side="+strconv.FormatBool(name == "server-side"))
			before := s.get("virtualservice")
			requireLed(t, before)
			for range 3 {
				s.kubectl(fmt.Sprintf(routes, host), append(args, "-f", "-")...)
				after := s.get("virtualservice")
				require.Equal(t, before.Spec, after.Spec)
				require.Equal(t, before.Metadata.Generation, after.Metadata.Generation, "no new generation")
			}
			dry := s.parse(s.kubectl(fmt.Sprintf(routes, host), append(args, "--dry-run=server", "-o", "json", "-f", "-")...).stdout)
			require.Equal(t, before.Spec, dry.Spec, "no drift between dry-run and what is stored")
		})
	}
}

// TestDiff: kubectl, which compares by dry-run, sees no drift.
func TestDiff(t *testing.T) {
	for name, args := range map[string][]string{"client-side": {}, "server-side": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			s := newSpace(t, "inject")
			file := both(name + ".diff.example.com")
			s.kubectl(file, append([]string{"apply", "-f", "-"}, args...)...)
			s.kubectl(file, append([]string{"diff", "-f", "-"}, args...)...) // fails if there is any
		})
	}
}

// TestEdit: a change to the original is led too, and nothing of the old stays.
func TestEdit(t *testing.T) {
	s := newSpace(t, "inject")
	s.kubectl(both("edit.example.com"), "apply", "-f", "-")
	changed := strings.Replace(fmt.Sprintf(routes, "edit.example.com"), "/v2", "/v3", 1)
	s.kubectl(changed, "apply", "-f", "-")
	o := s.get("virtualservice")
	requireLed(t, o)
	require.Contains(t, fmt.Sprint(o.Spec["http"]), "/v3")
	require.NotContains(t, fmt.Sprint(o.Spec["http"]), "/v2")
	s.kubectl("", "patch", "virtualservice", "api", "--type=json", "-p", `[{"op":"remove","path":"/spec/tls"}]`)
	requireLed(t, s.get("virtualservice"))
}

// TestOptOut: the annotation takes everything away again, and so does the end of the
// policy, on the next write.
func TestOptOut(t *testing.T) {
	s := newSpace(t, "inject")
	s.kubectl(both("opt-out.example.com"), "apply", "-f", "-")
	requireLed(t, s.get("virtualservice"))
	out := s.kubectl("", "annotate", "virtualservice", "api", "sallyport.dev/inject=none")
	require.Contains(t, out.stderr, "no longer leads the routes through an egress gateway")
	requireNotLed(t, s.get("virtualservice"))
	s.kubectl("", "annotate", "virtualservice", "api", "sallyport.dev/inject-")
	requireLed(t, s.get("virtualservice"))
	s.setPolicy("none")
	s.kubectl("", "label", "virtualservice", "api", "touched=yes")
	requireNotLed(t, s.get("virtualservice"))
}

// TestNotLed: what cannot be led says why, and is refused where it must be.
func TestNotLed(t *testing.T) {
	wildcard := fmt.Sprintf(routes, "'*.wild.example.com'")
	s := newSpace(t, "inject")
	out := s.kubectl(strings.Replace(wildcard, "hosts:", "exportTo: ['.']\n  hosts:", 1), "create", "-f", "-")
	require.Contains(t, out.stderr, "Warning: mutate/gateway-route: not led through the egress gateway: '*.wild.example.com' is a wildcard")
	s.kubectl(both("not-led.example.com"), "apply", "-f", "-")
	requireLed(t, s.get("virtualservice"))
	labels := strings.Replace(fmt.Sprintf(routes, "not-led.example.com"), "- uri: {prefix: /v1}", "- sourceLabels: {app: web}", 1)
	out = s.kubectl(labels, "apply", "-f", "-")
	require.Contains(t, out.stderr, "a match has `sourceLabels`")
	requireNotLed(t, s.get("virtualservice"))

	s.setPolicy("require")
	require.Contains(t, s.refused(strings.Replace(labels, "name: api", "name: other", 1), "create", "-f", "-"), "cannot be led through the egress gateway 'default' for them, since")
}

// TestRequire: the ServiceEntry is refused until routes lead its ports, which come
// before it; one file with both in that order is applied at once.
func TestRequire(t *testing.T) {
	s := newSpace(t, "require")
	host := "require.example.com"
	message := s.refused(fmt.Sprintf(entry, host), "create", "-f", "-")
	require.Contains(t, message, "first create a VirtualService with routes for it")
	s.kubectl(fmt.Sprintf(routes, host)+"---"+fmt.Sprintf(entry, host), "apply", "-f", "-")
	requireLed(t, s.get("virtualservice"))
	s.kubectl("", "annotate", "virtualservice", "api", "sallyport.dev/inject=none")
	requireLed(t, s.get("virtualservice"))
	s.kubectl(both(host), "apply", "-f", "-")
	s.kubectl(both(host), "diff", "-f", "-")
}

// TestSharedGateway: a gateway joins the routes of all for a host, so that the second
// namespace is not led, nor may it do so by hand.
func TestSharedGateway(t *testing.T) {
	first := newSpace(t, "inject")
	first.kubectl(both("shared.example.com"), "apply", "-f", "-")
	requireLed(t, first.get("virtualservice"))
	t.Run("second", func(t *testing.T) {
		second := newSpace(t, "inject")
		second.kubectl(strings.Replace(both("shared.example.com"), "  http:", "  exportTo: ['.']\n  http:", 1), "apply", "-f", "-")
		requireNotLed(t, second.get("virtualservice"))
		byHand := strings.Replace(fmt.Sprintf(routes, "shared.example.com"), "  http:", "  gateways: [istio-egress/egress]\n  exportTo: [istio-egress]\n  http:", 1)
		require.Contains(t, second.refused(strings.Replace(byHand, "name: api", "name: hijack", 1), "create", "-f", "-"), "by two namespaces")
	})
}

// TestAmbient: in the ambient mesh labels bind to the waypoint instead, and a policy's
// exportTo is filled in.
func TestAmbient(t *testing.T) {
	s := newSpace(t, "ambient")
	s.kubectl("", "label", "namespace", s.name, "istio.io/dataplane-mode=ambient")
	file := strings.Replace(fmt.Sprintf(entry, "ambient.example.com"), "  exportTo: [\".\"]\n", "", 1)
	var o object
	require.Eventually(t, func() bool {
		o = s.parse(s.kubectl(file, "create", "--dry-run=server", "-o", "json", "-f", "-").stdout)
		return len(o.Metadata.Labels) > 0
	}, soon, tick)
	require.Equal(t, map[string]string{"istio.io/use-waypoint": "waypoint", "istio.io/use-waypoint-namespace": "istio-egress"}, o.Metadata.Labels)
	require.Equal(t, []any{"."}, o.Spec["exportTo"])
	s.kubectl(file, "apply", "-f", "-")
	s.kubectl(file, "diff", "-f", "-")
}
