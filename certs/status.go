// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// A Status says how the certificates are.
type Status struct {
	// Mode is who issues the certificate; empty if nobody knows.
	Mode Mode `json:"mode,omitempty"`
	// Phase is, in mode self, how far the rotation of the CA is: steady, publish,
	// switch or retire; empty if there is no Secret.
	Phase string `json:"phase,omitempty"`
	// RetireAfter is when, in phase switch, the last certificate of the old CA
	// has ended.
	RetireAfter *time.Time `json:"retireAfter,omitempty"`
	// Certificates are the leaf and the CAs to trust.
	Certificates []Certificate `json:"certificates"`
	// Targets are the webhook configurations.
	Targets []Target `json:"targets"`
	// ClockSkewSeconds is by how much the clock is ahead of the API server's.
	ClockSkewSeconds float64 `json:"clockSkewSeconds"`
	// Problems are what somebody has to look after, in sentences.
	Problems []string `json:"problems,omitempty"`
	// Unknown is what could not be read, in sentences.
	Unknown []string `json:"unknown,omitempty"`
}

// A Mode is who issues the certificate.
type Mode string

// The modes, each a [Source].
const (
	ModeSelf        Mode = "self"         // [SelfSigned]
	ModeCertManager Mode = "cert-manager" // [CertManager]
	ModeFiles       Mode = "files"        // [Files]
)

// A Role is what a certificate is for.
type Role string

// The roles of certificates.
const (
	RoleLeaf   Role = "leaf"    // is served
	RoleCA     Role = "ca"      // signs
	RoleNextCA Role = "next-ca" // will sign
	RoleOldCA  Role = "old-ca"  // is trusted only
)

// A Certificate is what a [Status] says of one.
type Certificate struct {
	Role         Role      `json:"role"`
	SerialNumber string    `json:"serialNumber"` // hexadecimal
	DNSNames     []string  `json:"dnsNames"`     // for a CA, those it may sign
	NotBefore    time.Time `json:"notBefore"`
	NotAfter     time.Time `json:"notAfter"`
	// RenewAfter is when it is replaced, if nothing keeps it from that.
	RenewAfter time.Time `json:"renewAfter"`
	// LifeLeft is the part of its life that is left, from 0 to 1.
	LifeLeft float64 `json:"lifeLeft"`
}

// A Target is a webhook configuration that must carry the CA bundle.
type Target struct {
	// Kind is ValidatingWebhookConfiguration or MutatingWebhookConfiguration.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Exists is false also as long as nothing is known about the target.
	Exists bool `json:"exists"`
	// Injected reports whether each of its webhooks has the CA bundle; in modes
	// in which others have a say in that, whether each trusts the certificate.
	Injected bool `json:"injected"`
	// Distrusting are the webhooks whose calls fail, because their bundle does
	// not verify the leaf.
	Distrusting []string `json:"distrusting,omitempty"`
}

// lowLife is the part of a certificate's life below which something keeps it
// from being renewed.
const lowLife = 0.2

// A view is what a status is made of.
type view struct {
	mode Mode
	// rotation is that of mode self.
	rotation rotation
	// cert is served; nil is none, or not known.
	cert *tls.Certificate
	// cas are those that vouch for it.
	cas  []*x509.Certificate
	seen look
	// outside says that this is no server, which has a certificate or has none.
	outside bool
	// system says that webhooks without a bundle trust the certificate.
	system bool
	meter  *skewMeter
}

func (v *view) status() *Status {
	skew, times := v.meter.skew(), v.meter.times()
	now := times[len(times)-1] // of two, the API server's
	s := &Status{Mode: v.mode, ClockSkewSeconds: skew.Seconds(), Certificates: []Certificate{}, Targets: []Target{}}
	if r := v.rotation; len(r.keys) > 0 {
		s.Phase = string(r.phase)
		if r.phase == phaseSwitch && !r.retireAfter.IsZero() {
			s.RetireAfter = &r.retireAfter
		}
	}
	if v.cert != nil {
		s.Certificates = append(s.Certificates, newCertificate(RoleLeaf, v.cert.Leaf, now))
	}
	for _, ca := range v.cas {
		role := RoleCA
		if v.mode == ModeSelf {
			role = v.rotation.roleOf(ca, now)
		}
		s.Certificates = append(s.Certificates, newCertificate(role, ca, now))
	}
	for _, g := range v.seen {
		s.Targets = append(s.Targets, v.target(g))
	}
	if !v.outside && !slices.ContainsFunc(s.Certificates, func(c Certificate) bool { return c.Role == RoleLeaf && c.LifeLeft > 0 }) {
		s.Problems = append(s.Problems, "there is no valid certificate to serve")
	}
	s.Problems = append(s.Problems, s.problems()...)
	if skew.Abs() > maxSkew {
		s.Problems = append(s.Problems, describeSkew(skew))
	}
	return s
}

func (v *view) target(g glance) Target {
	t := Target{Kind: g.kind, Name: g.name}
	if g.config == nil {
		return t
	}
	t.Exists = true
	if v.cert != nil || !v.outside {
		t.Distrusting = g.config.distrusting(v.cert, v.system, v.meter.times())
		t.Injected = len(t.Distrusting) == 0
	} else {
		t.Injected = g.config.hopes(v.meter.times())
	}
	if bundle := v.rotation.keys.bundle(); len(bundle) > 0 {
		t.Injected = g.config.carries(bundle)
	}
	return t
}

func (r rotation) roleOf(ca *x509.Certificate, now time.Time) Role {
	signer, _ := r.keys.ca(now) // it may have ended
	next, _ := r.keys.signer(nextKey, now)
	switch {
	case signer != nil && signer.cert.Equal(ca):
		return RoleCA
	case next != nil && next.cert.Equal(ca):
		return RoleNextCA
	default:
		return RoleOldCA
	}
}

func newCertificate(role Role, cert *x509.Certificate, now time.Time) Certificate {
	c := Certificate{
		Role: role, SerialNumber: cert.SerialNumber.Text(16), DNSNames: cert.DNSNames,
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, RenewAfter: lifetimeOf(cert).renew,
	}
	if cert.IsCA {
		c.DNSNames = cert.PermittedDNSDomains
	}
	if life := cert.NotAfter.Sub(cert.NotBefore); life > 0 {
		c.LifeLeft = min(1, max(0, float64(cert.NotAfter.Sub(now))/float64(life)))
	}
	return c
}

// problems returns those of certificates and targets.
func (s *Status) problems() []string {
	var all []string
	for _, c := range s.Certificates {
		if c.LifeLeft < lowLife && c.Role != RoleOldCA {
			all = append(all, fmt.Sprintf("certificate %s (%s) ends at %s and is not renewed", c.SerialNumber, c.Role, c.NotAfter.Format(time.RFC3339)))
		}
	}
	for _, t := range s.Targets {
		switch {
		case !t.Exists:
			all = append(all, fmt.Sprintf("there is no %s %s", t.Kind, t.Name))
		case len(t.Distrusting) > 0:
			all = append(all, fmt.Sprintf("calls of %s %s fail, since its CA bundle does not verify the certificate: %q", t.Kind, t.Name, t.Distrusting))
		case !t.Injected:
			all = append(all, fmt.Sprintf("%s %s has not got the present CA bundle", t.Kind, t.Name))
		}
	}
	return all
}
