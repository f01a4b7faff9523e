// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"time"
)

// A rotation is what lies in the Secret. Its methods change nothing.
type rotation struct {
	keys        keyring
	phase       phase
	retireAfter time.Time
}

// state returns what the rotation is worth now to a server with the given names.
func (r rotation) state(names []string, now time.Time) *state {
	s := &state{
		phase:       r.phase,
		signer:      r.authority(caKey, names, now),
		successor:   r.authority(nextKey, names, now),
		retireAfter: r.retireAfter,
	}
	for _, cert := range r.keys.trusted(now) {
		s.trusted = append(s.trusted, idOf(cert))
	}
	if cert, err := r.keys.leaf(names, now); err == nil {
		s.leaf = r.keys.accepted(cert.Leaf, names, now)
	}
	return s
}

func (r rotation) authority(key string, names []string, now time.Time) *authority {
	ca, err := r.keys.signer(key, now)
	if err != nil || !permits(ca.cert, names) {
		return nil
	}
	return &authority{id: idOf(ca.cert), lifetime: lifetimeOf(ca.cert)}
}

// take returns what the Secret must hold after the step.
func (r rotation) take(s step, p profile, now time.Time) (rotation, error) {
	switch s {
	case stepRenew:
		return r.renew(p, now)
	case stepPublish:
		return r.publish(p, now)
	case stepSwitch:
		return r.replaceSigner(p, now)
	case stepRetire:
		return r.retire(now)
	case stepSettle:
		r.phase = phaseSteady
		return r, nil
	case stepReissue:
		return r.reissue(p, now)
	default:
		return r, nil
	}
}

func (r rotation) renew(p profile, now time.Time) (rotation, error) {
	ca, err := r.keys.ca(now)
	if err != nil {
		return r, fmt.Errorf("renew the certificate: %w", err)
	}
	if !r.keys.verifiable(p.names, now) {
		p = r.keys.widen(p, now, ca)
	}
	r.keys, err = r.keys.withLeaf(ca, p, now, r.keys.trusted(now))
	return r, err
}

func (r rotation) publish(p profile, now time.Time) (rotation, error) {
	successor, err := r.keys.widen(p, now, nil).issueCA(now)
	if err != nil {
		return r, err
	}
	keys, err := r.keys.withKey(nextKey, successor)
	if err != nil {
		return r, err
	}
	r.phase = phasePublish
	r.keys, err = keys.withTrusted(append(r.keys.trusted(now), successor.cert))
	return r, err
}

func (r rotation) replaceSigner(p profile, now time.Time) (rotation, error) {
	ca, err := r.keys.signer(nextKey, now)
	if err != nil {
		return r, fmt.Errorf("use the new CA: %w", err)
	}
	keys := maps.Clone(r.keys)
	keys[caKey] = keys[nextKey]
	delete(keys, nextKey)
	keys, err = keys.withLeaf(ca, r.keys.widen(p, now, ca), now, r.keys.trusted(now)) // the bundle stays as it is
	return rotation{keys: keys, phase: phaseSwitch, retireAfter: r.lastLeafEnds(p, now)}, err
}

func (r rotation) retire(now time.Time) (rotation, error) {
	ca, err := r.keys.ca(now)
	if err != nil {
		return r, fmt.Errorf("retire the old CA: %w", err)
	}
	keys, err := r.keys.withTrusted([]*x509.Certificate{ca.cert})
	return rotation{keys: keys, phase: phaseRetire}, err
}

func (r rotation) reissue(p profile, now time.Time) (rotation, error) {
	keys, err := newKeyring(r.keys.widen(p, now, nil), now, r.keys.trusted(now)...)
	if err != nil {
		return r, err
	}
	next := rotation{keys: keys, phase: phaseSteady}
	if len(keys.trusted(now)) > 1 {
		next.phase, next.retireAfter = phaseSwitch, r.lastLeafEnds(p, now)
	}
	return next, nil
}

// lastLeafEnds returns when the last leaf has ended that the CAs so far have
// signed, also for clients whose clock is behind. None was made later than the
// one that is stored.
func (r rotation) lastLeafEnds(p profile, now time.Time) time.Time {
	end := now.Add(p.leafLife)
	if served := r.keys.served(now); served != nil {
		end = served.NotAfter
	}
	end = end.Add(p.backdating)
	if r.retireAfter.After(end) {
		return r.retireAfter
	}
	return end
}

// accepted returns the certificate as a leaf, or nil if clients who trust the
// bundle would refuse it.
func (k keyring) accepted(cert *x509.Certificate, names []string, now time.Time) *leaf {
	if k.verify(cert, names, now) != nil {
		return nil
	}
	for _, ca := range k.trusted(now) {
		if cert.CheckSignatureFrom(ca) == nil {
			return &leaf{signer: idOf(ca), lifetime: lifetimeOf(cert)}
		}
	}
	return nil
}

// idOf returns the SHA-256 fingerprint of a CA.
func idOf(ca *x509.Certificate) caID {
	sum := sha256.Sum256(ca.Raw)
	return caID(hex.EncodeToString(sum[:]))
}

// idsIn returns the CAs of a bundle, or none if it cannot be read.
func idsIn(bundle []byte) []caID {
	var ids []caID
	for _, cert := range (keyring{caCert: bundle}).authorities() {
		ids = append(ids, idOf(cert))
	}
	return ids
}
