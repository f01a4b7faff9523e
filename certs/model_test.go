// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"slices"
	"time"
)

// A model of replicas, Secret, webhook configurations and API servers, in which
// the functions that decide are the real ones ([state.next], [state.serves]) and
// the rest is as small as it can be:
//
//   - A CA is a number, a set of CAs a bit mask, a leaf the CA that has signed it.
//   - Each request of a replica is one transition, and between two of them anything
//     may happen: other replicas go on, time passes, the replica dies.
//   - A watch may be late for ever. Only API servers are not: what they find in a
//     webhook configuration is at most a dwell old. So a tick of the clock is a
//     dwell, and it does not matter how much less than that passes between ticks.
//   - That a certificate is due, or that the last leaf of a former signer ends, may
//     happen at any time. What is due is done before the leaf in the Secret ends.
const (
	maxReplicas = 3
	maxTargets  = 2
	maxCAs      = 3
)

type caSet uint8

func setOf(ca int8) caSet             { return 1 << ca }
func (s caSet) has(ca int8) bool      { return ca >= 0 && s&setOf(ca) != 0 }
func (s caSet) contains(o caSet) bool { return o&^s == 0 }

func nameOf(ca int8) caID { return caID(rune('a' + ca)) }

// A modelSecret is a [rotation].
type modelSecret struct {
	phase              uint8 // index in phases
	trusted            caSet
	signer, successor  int8 // -1 is none
	leaf               int8
	signerDue, leafDue bool
}

// take is [rotation.take]; the next CA that is made has the given number.
func (s modelSecret) take(do step, next int8) modelSecret {
	enter := func(p phase) { s.phase = uint8(slices.Index(phases, p)) }
	switch do {
	case stepRenew:
		s.leaf, s.leafDue = s.signer, false
	case stepPublish:
		s.successor, s.trusted = next, s.trusted|setOf(next)
		enter(phasePublish)
	case stepSwitch:
		s.signer, s.leaf, s.successor, s.signerDue, s.leafDue = s.successor, s.successor, -1, false, false
		enter(phaseSwitch)
	case stepRetire:
		s.trusted = setOf(s.signer)
		enter(phaseRetire)
	case stepSettle:
		enter(phaseSteady)
	default:
		panic("not modelled: " + do)
	}
	return s
}

// worth is what matters of what is only used, not changed.
func (s modelSecret) worth() modelSecret {
	return modelSecret{trusted: s.trusted, leaf: s.leaf, signer: s.leaf, successor: -1}
}

// state is [rotation.state]. The leaves of some CAs have ended.
func (s modelSecret) state(ended caSet) *state {
	life := func(due bool) lifetime {
		if due {
			return lifetime{renew: modelNow, end: modelNow.Add(time.Hour)}
		}
		return lifetime{renew: modelNow.Add(time.Hour), end: modelNow.Add(2 * time.Hour)}
	}
	full := &state{phase: phases[s.phase], retireAfter: modelNow.Add(time.Minute)}
	for ca := range int8(maxCAs) {
		if s.trusted.has(ca) {
			full.trusted = append(full.trusted, nameOf(ca))
		}
	}
	full.signer = &authority{id: nameOf(s.signer), lifetime: life(s.signerDue)}
	full.signer.end = modelNow.Add(3 * time.Hour)
	if s.successor >= 0 {
		full.successor = &authority{id: nameOf(s.successor), lifetime: life(false)}
	}
	if !ended.has(s.leaf) {
		full.leaf = &leaf{signer: nameOf(s.leaf), lifetime: life(s.leafDue)}
	}
	if ended.contains(s.trusted &^ setOf(s.signer)) {
		full.retireAfter = modelNow.Add(-time.Minute)
	}
	return full
}

// modelNow is the time at which everything is decided; what is old is old by a tick.
var modelNow = someDay

const modelTick = time.Minute

// Where a replica is in [SelfSigned.reconcile]. Then it asks for, or injects into,
// one target after the other.
const (
	idle = iota
	asking
	writing   = asking + maxTargets
	injecting = writing + 1
	using     = injecting + maxTargets
)

type modelReplica struct {
	at     int8
	served int8 // -1 is nothing
	// fresh is what was read last. It is behind if there is a newer one.
	fresh  modelSecret
	behind bool
	due    int8 // in steps
	views  [maxTargets]modelView
}

// steps are those of a rotation.
var steps = []step{stepNone, stepRenew, stepPublish, stepSwitch, stepRetire, stepSettle}

const (
	doNone = iota
	_
	doPublish
	doSwitch
)

// A modelView is what a replica knows of a target.
type modelView struct {
	// newest: the look that reconcile has begun with is still right, so that
	// what is injected by its version is accepted.
	newest bool
	// successor is the [sighting] of the newest CA. The others are taken for
	// seen long ago, with which a replica may do more than it really may.
	successor seen
}

type seen int8

const (
	notSeen seen = iota
	seenNow      // less than a tick ago
	seenLong
)

func (v *modelView) see(there bool) {
	switch {
	case !there:
		v.successor = notSeen
	case v.successor == notSeen:
		v.successor = seenNow
	}
}

// clients is [SelfSigned.clients].
func (m *machine) clients(views [maxTargets]modelView, newest int8, settled bool) *clients {
	c := &clients{dwell: m.dwell, settled: settled}
	for _, v := range views[:m.targets] {
		since := map[caID]time.Time{}
		for ca := range newest {
			since[nameOf(ca)] = modelNow.Add(-modelTick)
		}
		switch v.successor {
		case notSeen:
		case seenNow:
			since[nameOf(newest)] = modelNow
		case seenLong:
			since[nameOf(newest)] = modelNow.Add(-modelTick)
		}
		c.sightings = append(c.sightings, since)
	}
	return c
}

type modelTarget struct {
	live caSet
	// The sets that it had ever, and in this tick, as masks: a watch may show
	// any of those, an API server any of these.
	ever, lately uint8
}

func (t *modelTarget) put(s caSet) {
	t.lately |= 1 << t.live
	t.ever |= 1 << s
	t.live = s
}

// A world is everything at a time. It is comparable.
type world struct {
	secret   modelSecret
	ever     uint32 // what the Secret was, as a mask of what it was worth
	targets  [maxTargets]modelTarget
	replicas [maxReplicas]modelReplica
	ended    caSet // CAs whose leaves have ended
	made     int8  // CAs
}

// newest returns the last CA that was made.
func (w *world) newest() int8 { return w.made - 1 }

// newWorld is a steady one, before any replica starts.
func newWorld() world {
	w := world{made: 1}
	w.store(modelSecret{trusted: setOf(0), successor: -1})
	for t := range w.targets {
		w.targets[t].live = setOf(0)
		w.targets[t].put(setOf(0))
	}
	for r := range w.replicas {
		w.replicas[r] = modelReplica{served: -1}
	}
	return w
}

func (w *world) store(s modelSecret) {
	w.secret = s
	w.ever |= 1 << (uint8(s.leaf)<<maxCAs | uint8(s.trusted))
}

// versions returns what a watch may show of the Secret.
func (w *world) versions() []modelSecret {
	var all []modelSecret
	for leaf := range int8(maxCAs) {
		for trusted := range caSet(1 << maxCAs) {
			if w.ever&(1<<(uint8(leaf)<<maxCAs|uint8(trusted))) != 0 {
				all = append(all, modelSecret{trusted: trusted, leaf: leaf, signer: leaf, successor: -1})
			}
		}
	}
	return all
}

// broken returns which client cannot call which replica: one who trusts what is
// published, or what was published until a dwell ago.
func (w *world) broken(m *machine) error {
	for r := range m.replicas {
		served := w.replicas[r].served
		if served < 0 || w.ended.has(served) {
			continue
		}
		for t, target := range w.targets[:m.targets] {
			for view := range caSet(1 << maxCAs) {
				if (view == target.live || target.lately&(1<<view) != 0) && !view.has(served) {
					return fmt.Errorf("replica %d serves a leaf of CA %s, clients of target %d trust %03b", r, nameOf(served), t, view)
				}
			}
		}
	}
	return nil
}
