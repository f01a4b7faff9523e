// SPDX-License-Identifier: Apache-2.0

// Package config holds the facts about a mesh that no object in it tells, as
// the platform team writes them down for all front ends.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// APIVersion and Kind head every configuration file.
const (
	APIVersion = "config.sallyport.dev/v1alpha1"
	Kind       = "Configuration"
)

// A Configuration is the file given by --config. It is read-only once parsed
// and safe for concurrent use.
type Configuration struct {
	metav1.TypeMeta `json:",inline"`
	Mesh            Mesh `json:"mesh"`
}

// Mesh describes the mesh.
type Mesh struct {
	// ClusterDomain is the DNS domain of Services.
	ClusterDomain string `json:"clusterDomain,omitempty"`
	// RootNamespace is istiod's, whose objects apply to the whole mesh.
	RootNamespace string `json:"rootNamespace,omitempty"`
	// PlatformNamespaces belong to the platform team; rules that keep tenants
	// apart do not apply there.
	PlatformNamespaces []string `json:"platformNamespaces,omitempty"`
	// DataPlane is what runs in namespaces that say nothing of it.
	DataPlane DataPlane `json:"dataPlane,omitempty"`
	// IstioVersion is the control plane's, such as "1.31".
	IstioVersion string `json:"istioVersion,omitempty"`
	// OutboundTrafficPolicy is MeshConfig's outboundTrafficPolicy.mode.
	OutboundTrafficPolicy OutboundTrafficPolicy `json:"outboundTrafficPolicy,omitempty"`
	// DefaultExportTo holds MeshConfig's default…ExportTo.
	DefaultExportTo DefaultExportTo `json:"defaultExportTo,omitzero"`
	// ClusterCIDRs are the ranges of pods, Services and VMs.
	ClusterCIDRs []netip.Prefix `json:"clusterCIDRs,omitempty"`
	// InternalSuffixes are DNS suffixes of hosts inside the mesh that are not
	// below the cluster domain.
	InternalSuffixes []string `json:"internalSuffixes,omitempty"`
	// MetadataNamespaces may reach the cloud's metadata addresses.
	MetadataNamespaces []string `json:"metadataNamespaces,omitempty"`
	// EgressGateways are the gateways that traffic may be led through.
	EgressGateways []EgressGateway `json:"egressGateways,omitempty"`
	// Waypoints are namespace/name of the egress waypoints.
	Waypoints []string `json:"waypoints,omitempty"`
}

// DataPlane is a data plane mode of Istio.
type DataPlane string

// The data planes.
const (
	DataPlaneSidecar DataPlane = "Sidecar"
	DataPlaneAmbient DataPlane = "Ambient"
)

// OutboundTrafficPolicy is what sidecars do with traffic to unknown hosts.
type OutboundTrafficPolicy string

// The modes of MeshConfig's outboundTrafficPolicy.
const (
	AllowAny     OutboundTrafficPolicy = "ALLOW_ANY"
	RegistryOnly OutboundTrafficPolicy = "REGISTRY_ONLY"
)

// DefaultExportTo is the visibility of objects without an exportTo.
type DefaultExportTo struct {
	ServiceEntry    []string `json:"serviceEntry,omitempty"`
	VirtualService  []string `json:"virtualService,omitempty"`
	DestinationRule []string `json:"destinationRule,omitempty"`
}

// An EgressGateway is a gateway that leads out of the mesh.
type EgressGateway struct {
	// Name is what policies call it.
	Name string `json:"name"`
	// Gateway is namespace/name of its Gateway object.
	Gateway string `json:"gateway"`
	// Service is the full name of its Service.
	Service string `json:"service"`
	// Selector are the labels of its pods.
	Selector map[string]string `json:"selector,omitempty"`
	// Ports are the Service's ports.
	Ports GatewayPorts `json:"ports,omitzero"`
	// TCP lists external ports that carry no host name, each of which needs a
	// port of the Service for itself.
	TCP []TCPPort `json:"tcp,omitempty"`
}

// Namespace returns that of the gateway's Service and pods.
func (g *EgressGateway) Namespace() string {
	_, rest, _ := strings.Cut(g.Service, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	return namespace
}

// A TCPPort says by which port of an egress gateway's Service a TCP port of an
// external host is reached.
type TCPPort struct {
	// Host is the external host, an exact name in lower case.
	Host string `json:"host"`
	// Port is that of the host.
	Port uint32 `json:"port"`
	// Gateway is namespace/name of the Gateway object with the server for it;
	// the egress gateway's own if it is left out.
	Gateway string `json:"gateway,omitempty"`
	// GatewayPort is that of the Service and of the server.
	GatewayPort uint32 `json:"gatewayPort"`
}

// GatewayPorts are the ports of an egress gateway's Service.
type GatewayPorts struct {
	HTTP uint32 `json:"http,omitempty"`
	TLS  uint32 `json:"tls,omitempty"`
}

// Default returns the configuration of a mesh as Istio installs it. The result
// is shared and must not be changed.
func Default() *Configuration { return builtin }

var builtin = func() *Configuration {
	c := &Configuration{TypeMeta: metav1.TypeMeta{APIVersion: APIVersion, Kind: Kind}}
	c.setDefaults()
	return c
}()

// Parse reads a configuration file. Unknown and duplicate fields are errors,
// absent ones get their defaults.
func Parse(data []byte) (*Configuration, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	c := new(Configuration)
	problems, err := kjson.UnmarshalStrict(raw, c)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	if c.APIVersion != APIVersion || c.Kind != Kind {
		return nil, fmt.Errorf("want apiVersion %s and kind %s, got %q and %q", APIVersion, Kind, c.APIVersion, c.Kind)
	}
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Configuration) setDefaults() {
	m := &c.Mesh
	setDefault(&m.ClusterDomain, "cluster.local")
	setDefault(&m.RootNamespace, "istio-system")
	setDefault(&m.DataPlane, DataPlaneSidecar)
	setDefault(&m.IstioVersion, "1.31")
	setDefault(&m.OutboundTrafficPolicy, AllowAny)
	setDefaultList(&m.PlatformNamespaces, "istio-system", "istio-egress")
	setDefaultList(&m.Waypoints, "istio-egress/waypoint")
	setDefaultList(&m.DefaultExportTo.ServiceEntry, "*")
	setDefaultList(&m.DefaultExportTo.VirtualService, "*")
	setDefaultList(&m.DefaultExportTo.DestinationRule, "*")
	for i := range m.EgressGateways {
		g := &m.EgressGateways[i]
		setDefault(&g.Ports.HTTP, 80)
		setDefault(&g.Ports.TLS, 443)
		if g.Selector == nil {
			g.Selector = map[string]string{"istio": "egressgateway"}
		}
		for j := range g.TCP {
			setDefault(&g.TCP[j].Gateway, g.Gateway)
		}
	}
}

func setDefault[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

func setDefaultList(field *[]string, values ...string) {
	if *field == nil {
		*field = values
	}
}

func (c *Configuration) validate() error {
	m := &c.Mesh
	var errs []error
	invalid := func(path, value, want string) {
		errs = append(errs, fmt.Errorf("%s: invalid value %q: %s", path, value, want))
	}
	if m.DataPlane != DataPlaneSidecar && m.DataPlane != DataPlaneAmbient {
		invalid("mesh.dataPlane", string(m.DataPlane), "must be 'Sidecar' or 'Ambient'")
	}
	if m.OutboundTrafficPolicy != AllowAny && m.OutboundTrafficPolicy != RegistryOnly {
		invalid("mesh.outboundTrafficPolicy", string(m.OutboundTrafficPolicy), "must be 'ALLOW_ANY' or 'REGISTRY_ONLY'")
	}
	if !istioVersion.MatchString(m.IstioVersion) {
		invalid("mesh.istioVersion", m.IstioVersion, "must be a version such as '1.31'")
	}
	if !isDomain(m.ClusterDomain) {
		invalid("mesh.clusterDomain", m.ClusterDomain, "must be a DNS name in lower case without a trailing dot")
	}
	for i, suffix := range m.InternalSuffixes {
		if !isDomain(suffix) {
			invalid(fmt.Sprintf("mesh.internalSuffixes[%d]", i), suffix, "must be a DNS name in lower case without '*' or a leading or trailing dot")
		}
	}
	for i, w := range m.Waypoints {
		if !isNamespacedName(w) {
			invalid(fmt.Sprintf("mesh.waypoints[%d]", i), w, "must be namespace/name")
		}
	}
	seen := map[string]bool{}
	for i, g := range m.EgressGateways {
		path := fmt.Sprintf("mesh.egressGateways[%d]", i)
		if g.Name == "" || seen[g.Name] {
			invalid(path+".name", g.Name, "must be set and unique")
		}
		seen[g.Name] = true
		if !isNamespacedName(g.Gateway) {
			invalid(path+".gateway", g.Gateway, "must be namespace/name of a Gateway")
		}
		if !isDomain(g.Service) || !strings.HasSuffix(g.Service, ".svc."+m.ClusterDomain) {
			invalid(path+".service", g.Service, "must be the full name of a Service, such as 'istio-egressgateway.istio-egress.svc."+m.ClusterDomain+"'")
		}
		if len(g.Selector) == 0 {
			invalid(path+".selector", "{}", "must name the labels of the gateway pods")
		}
		g.validateTCP(path, invalid)
	}
	return errors.Join(errs...)
}

func (g *EgressGateway) validateTCP(path string, invalid func(path, value, want string)) {
	taken := map[uint32]bool{g.Ports.HTTP: true, g.Ports.TLS: true}
	for i, t := range g.TCP {
		at := fmt.Sprintf("%s.tcp[%d]", path, i)
		if !isDomain(t.Host) {
			invalid(at+".host", t.Host, "must be an exact name in lower case")
		}
		if t.Port == 0 || t.Port > 65535 {
			invalid(at+".port", strconv.FormatUint(uint64(t.Port), 10), "must be a port")
		}
		if !isNamespacedName(t.Gateway) {
			invalid(at+".gateway", t.Gateway, "must be namespace/name of a Gateway")
		}
		if t.GatewayPort == 0 || t.GatewayPort > 65535 || taken[t.GatewayPort] {
			invalid(at+".gatewayPort", strconv.FormatUint(uint64(t.GatewayPort), 10), "must be a port of the gateway's Service that nothing else uses, since nothing but the port tells TCP hosts apart")
		}
		taken[t.GatewayPort] = true
	}
}

var istioVersion = regexp.MustCompile(`^1\.[0-9]{1,3}(\.[0-9]+)?$`)

func isDomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }

func isNamespacedName(s string) bool {
	namespace, name, ok := strings.Cut(s, "/")
	return ok && len(validation.IsDNS1123Label(namespace)) == 0 && isDomain(name)
}

// IsPlatform reports whether the namespace belongs to the platform team, as those of
// egress gateways do in any case.
func (c *Configuration) IsPlatform(namespace string) bool {
	return slices.Contains(c.Mesh.PlatformNamespaces, namespace) ||
		slices.ContainsFunc(c.Mesh.EgressGateways, func(g EgressGateway) bool { return g.Namespace() == namespace })
}
