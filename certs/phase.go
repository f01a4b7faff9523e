// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"slices"
	"time"
)

// A phase is how far a rotation of the CA is.
type phase string

const (
	// phaseSteady: the CA that signs is trusted.
	phaseSteady phase = "steady"
	// phasePublish: its successor is trusted as well, and signs nothing yet.
	phasePublish phase = "publish"
	// phaseSwitch: the successor signs; the old CA is still trusted, because
	// certificates that it has signed may be served.
	phaseSwitch phase = "switch"
	// phaseRetire: the old CA is not trusted any more, and is taken out of the
	// webhook configurations.
	phaseRetire phase = "retire"
)

var phases = []phase{phaseSteady, phasePublish, phaseSwitch, phaseRetire}

// parsePhase takes what it does not know, such as nothing, for steady.
func parsePhase(text string) phase {
	if p := phase(text); slices.Contains(phases, p) {
		return p
	}
	return phaseSteady
}

// A step is a change of the Secret.
type step string

const (
	stepNone    step = ""
	stepRenew   step = "renew"   // a new leaf by the CA that signs
	stepPublish step = "publish" // make a successor and trust it
	stepSwitch  step = "switch"  // let the successor sign, and replace the leaf
	stepRetire  step = "retire"  // trust only the CA that signs
	stepSettle  step = "settle"  // be steady
	stepReissue step = "reissue" // make a CA and a leaf at once, without a rotation
)

// waits reports whether the step can always wait.
func (s step) waits() bool { return s == stepPublish || s == stepRetire || s == stepSettle }

// message is for the log, when the step has been taken.
func (s step) message() string {
	switch s {
	case stepRenew:
		return "Renewed certificate"
	case stepPublish:
		return "Published new CA"
	case stepSwitch:
		return "Switched to new CA"
	case stepRetire:
		return "Retired old CA"
	case stepSettle:
		return "Ended rotation of the CA"
	case stepReissue:
		return "Created CA"
	default:
		return ""
	}
}

// reason is for events.
func (s step) reason() string {
	switch s {
	case stepPublish:
		return "CAPublished"
	case stepSwitch:
		return "CASwitched"
	case stepRetire:
		return "CARetired"
	case stepSettle:
		return "CASettled"
	case stepReissue:
		return "CACreated"
	default:
		return ""
	}
}

// A caID tells CA certificates apart.
type caID string

// A lifetime says when a certificate must be renewed, and when it ends.
type lifetime struct{ renew, end time.Time }

func (l lifetime) due(now time.Time) bool { return !now.Before(l.renew) }

// An authority is a CA whose key is known.
type authority struct {
	id caID
	lifetime
}

// A leaf is a certificate that clients accept.
type leaf struct {
	signer caID
	lifetime
}

// A state is what the next step depends on: what the Secret holds, as it is
// worth now. What is not valid, or not fit for the server's names, is missing.
type state struct {
	phase   phase
	trusted []caID
	// signer signs. Nil: no CA can.
	signer *authority
	// successor is the published CA that will sign. Nil: there is none.
	successor *authority
	// leaf is the certificate to serve. Nil: clients would refuse it.
	leaf *leaf
	// retireAfter is when the last leaf of a former signer has ended. Zero:
	// nobody knows.
	retireAfter time.Time
}

// Clients are those who trust bundles, as far as a replica has seen.
type clients struct {
	// sightings has for each place where clients find their CAs, since when
	// the replica has known without a gap that a CA is there.
	sightings []map[caID]time.Time
	// dwell is how long clients may go on using what they found before.
	dwell time.Duration
	// settled reports whether each place has exactly the CAs of the Secret.
	settled bool
}

// nobody trusts anything.
var nobody = &clients{sightings: []map[caID]time.Time{nil}}

// trust reports whether all clients trust the CA.
func (c *clients) trust(id caID, now time.Time) bool {
	for _, since := range c.sightings {
		if seen, ok := since[id]; !ok || now.Sub(seen) < c.dwell {
			return false
		}
	}
	return true
}

// next returns the step that is due. It is safe whoever takes it, and however
// long after, unless the Secret has changed in between: no leaf is ever served
// whose CA is not trusted by all, and no CA is dropped whose leaf can be served.
func (s *state) next(c *clients, now time.Time) step {
	switch {
	case s.leaf == nil:
		return s.rescue()
	case s.leaf.due(now) && s.signer != nil && s.signer.end.After(s.leaf.end):
		return stepRenew
	case s.phase == phasePublish && s.successor != nil:
		if c.trust(s.successor.id, now) {
			return stepSwitch
		}
		return stepNone
	case s.signer == nil || s.signer.due(now):
		return stepPublish
	case s.phase == phasePublish, s.phase == phaseRetire && c.settled:
		return stepSettle
	case s.phase == phaseSwitch && s.alone(now):
		return stepRetire
	}
	return stepNone
}

// alone reports whether only leaves of the signer can be served.
func (s *state) alone(now time.Time) bool {
	return len(s.trusted) == 1 || !s.retireAfter.IsZero() && now.After(s.retireAfter)
}

// rescue returns the step that leads to a valid leaf soonest and disturbs least.
func (s *state) rescue() step {
	switch {
	case s.signer != nil:
		return stepRenew
	case s.successor != nil:
		return stepSwitch
	default:
		return stepReissue
	}
}

// serves returns whether a replica that serves the given leaf shall change to
// the one of the Secret.
func (s *state) serves(current *leaf, c *clients, now time.Time) bool {
	switch {
	case s.leaf == nil:
		return false
	case current == nil || !slices.Contains(s.trusted, current.signer):
		return true
	}
	return current.signer == s.leaf.signer || c.trust(s.leaf.signer, now)
}
