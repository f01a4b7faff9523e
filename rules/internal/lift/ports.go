// SPDX-License-Identifier: Apache-2.0

package lift

import (
	"cmp"
	"fmt"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/sallyport-dev/sallyport/rules/internal/port"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// findPorts sorts the ports of the hosts by what tells the hosts on them apart. The
// gateway has one port for all of a kind, so that the hosts can only have one too.
func (p *plan) findPorts() string {
	for i, se := range p.entries {
		written := p.draft.Spec.GetHosts()[i]
		if se == nil {
			p.assumePorts(written)
			continue
		}
		for _, sp := range se.Spec.GetPorts() {
			if reason := p.addPort(i, sp); reason != "" {
				return reason
			}
		}
	}
	if p.tls != 0 || p.Policy.Gateway.Mode != policy.ModeRequire { // else they say which port is to come
		p.draft.dropIdentities(cmp.Or(p.tls, p.draft.tls))
	}
	return p.checkKinds()
}

func (p *plan) addPort(i int, sp *networking.ServicePort) string {
	h, written, number := p.hosts[i], p.draft.Spec.GetHosts()[i], sp.GetNumber()
	switch proto := port.Parse(sp.GetProtocol()); {
	case proto == port.UDP:
		return ""
	case proto.HTTPLike():
		p.httpHosts = append(p.httpHosts, written)
		return setPort(&p.http, number, "HTTP", h)
	case proto.TLSLike():
		p.tlsHosts = append(p.tlsHosts, written)
		return setPort(&p.tls, number, "TLS", h)
	case proto == port.Sniffed:
		return fmt.Sprintf("port %d of '%s' has no protocol; set `protocol` in its ServiceEntry", number, h)
	default:
		return p.addTCP(h, number)
	}
}

func setPort(field *uint32, number uint32, kind, h string) string {
	if *field != 0 && *field != number {
		return fmt.Sprintf("'%s' makes it two %s ports, %d and %d, and a gateway has only one for both; write a VirtualService, and a ServiceEntry, for each", h, kind, *field, number)
	}
	*field = number
	return ""
}

func (p *plan) addTCP(h string, number uint32) string {
	for _, t := range p.gateway.TCP {
		if t.Host == h && t.Port == number {
			if len(p.hosts) > 1 {
				return fmt.Sprintf("TCP port %d of '%s' names no host; write a VirtualService for this host alone", number, h)
			}
			p.tcp = append(p.tcp, t)
			return ""
		}
	}
	return fmt.Sprintf("the gateway has no port for TCP port %d of '%s'; have it added to `tcp` of the egress gateway in the configuration", number, h)
}

// assumePorts takes the usual ports for a host that nobody has declared yet. Where
// the gateway is required its ServiceEntry is refused before routes lead there.
func (p *plan) assumePorts(written string) {
	p.httpHosts, p.tlsHosts = append(p.httpHosts, written), append(p.tlsHosts, written)
	if p.http == 0 {
		p.http = p.usualHTTP()
	}
	if p.tls == 0 {
		p.tls = p.usualTLS()
	}
	p.assumed = append(p.assumed, p.http, p.tls)
}

func (p *plan) usualHTTP() uint32 {
	return firstPort(p.draft.Spec.GetHttp(), cmp.Or(p.draft.http, 80))
}

func (p *plan) usualTLS() uint32 {
	return firstPort(p.draft.Spec.GetTls(), cmp.Or(p.draft.tls, 443))
}

// firstPort returns the port that a match of the routes names first.
func firstPort[M interface{ GetPort() uint32 }, R interface{ GetMatch() []M }](routes []R, otherwise uint32) uint32 {
	for _, r := range routes {
		for _, m := range r.GetMatch() {
			if m.GetPort() != 0 {
				return m.GetPort()
			}
		}
	}
	return otherwise
}

// checkKinds looks for routes of a kind for which there is no port.
func (p *plan) checkKinds() string {
	for _, kind := range []struct {
		name, protocol string
		routes         int
		port           *uint32
		hosts          *[]string
		usual          uint32
	}{
		{"http", "HTTP", len(p.draft.Spec.GetHttp()), &p.http, &p.httpHosts, p.usualHTTP()},
		{"tls", "TLS", len(p.draft.Spec.GetTls()), &p.tls, &p.tlsHosts, p.usualTLS()},
	} {
		switch {
		case kind.routes == 0 || *kind.port != 0:
		case p.Policy.Gateway.Mode == policy.ModeRequire:
			*kind.port, *kind.hosts = kind.usual, p.draft.Spec.GetHosts()
			p.assumed = append(p.assumed, kind.usual)
		default:
			return fmt.Sprintf("there are %s routes, and '%s' has no port of protocol %s", kind.name, p.hosts[0], kind.protocol)
		}
	}
	if len(p.draft.Spec.GetTcp()) > 0 && len(p.tcp) == 0 {
		return fmt.Sprintf("there are tcp routes, and '%s' has no port of protocol TCP", p.hosts[0])
	}
	return ""
}
