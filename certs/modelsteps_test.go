// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"fmt"
	"slices"
	"time"
)

// A machine is what is modelled. Its faults are for showing that the check finds
// faults.
type machine struct {
	replicas, targets int
	rotations         int8
	// dwell is a tick, if it is as long as API servers take.
	dwell time.Duration
	// next is [state.next].
	next func(*state, *clients, time.Time) step

	ignoresSecretVersion bool // writes whatever was written since
	ignoresTargetVersion bool

	// renewals: the leaf may be due at any time.
	renewals bool

	steps   map[question]int8 // that next has returned
	answers map[served]bool
}

func soundMachine(replicas, targets int) *machine {
	return &machine{
		replicas: replicas, targets: targets, rotations: maxCAs - 1, dwell: modelTick, next: (*state).next,
		steps: map[question]int8{}, answers: map[served]bool{},
	}
}

// A move is one of the things that can happen next.
type move struct {
	event
	to world
}

// An event says what happened, and to which replica; -1 is to all.
type event struct{ what, replica int8 }

const (
	dwellPasses = iota
	caIsDue
	leafIsDue
	oldLeafEnds
	dies
	sees
	usesKnown
	reads
	asks
	writes
	injects
	usesRead
)

// String implements [fmt.Stringer].
func (e event) String() string {
	text := [...]string{
		"a dwell passes", "the CA is due", "the leaf is due", "the last leaf of the old CA ends", "dies", "sees a target",
		"uses a Secret it knows", "reads the Secret", "asks for a target", "writes the Secret", "injects into a target", "uses what it has read",
	}[e.what]
	if e.replica < 0 {
		return text
	}
	return fmt.Sprintf("replica %d %s", e.replica, text)
}

// moves returns everything that can happen next, in the memory of what it has
// returned before.
func (m *machine) moves(w *world, before []move) []move {
	c := &chooser{world: w, moves: append(before[:0], m.fate(w)...)}
	for c.replica = range m.replicas {
		c.add(dies, func(_ *world, r *modelReplica) { *r = modelReplica{served: -1} })
		m.progress(c, w.replicas[c.replica].at)
	}
	return c.moves
}

// fate is what happens to all.
func (m *machine) fate(w *world) []move {
	tick := *w
	for t := range tick.targets {
		tick.targets[t].lately = 0
	}
	for r := range tick.replicas {
		for t := range tick.replicas[r].views {
			if v := &tick.replicas[r].views[t]; v.successor == seenNow {
				v.successor = seenLong
			}
		}
	}
	all := []move{{event{dwellPasses, -1}, tick}}
	if !w.secret.signerDue && w.made <= m.rotations {
		due := *w
		due.secret.signerDue = true
		all = append(all, move{event{caIsDue, -1}, due})
	}
	if m.renewals && !w.secret.leafDue {
		due := *w
		due.secret.leafDue = true
		all = append(all, move{event{leafIsDue, -1}, due})
	}
	if phases[w.secret.phase] == phaseSwitch {
		end := *w
		end.ended = (setOf(w.made) - 1) &^ setOf(w.secret.signer)
		all = append(all, move{event{oldLeafEnds, -1}, end})
	}
	return all
}

// A chooser collects what a replica can do.
type chooser struct {
	world   *world
	replica int
	moves   []move
}

func (c *chooser) add(what int8, change func(w *world, r *modelReplica)) {
	next := *c.world
	change(&next, &next.replicas[c.replica])
	if next != *c.world {
		c.moves = append(c.moves, move{event{what, int8(c.replica)}, next})
	}
}

func (m *machine) progress(c *chooser, at int8) {
	switch {
	case at == idle:
		for t := range m.targets {
			m.watch(c, t)
		}
		for _, s := range c.world.versions() {
			c.add(usesKnown, func(w *world, r *modelReplica) { m.use(w, r, s) })
		}
		m.begin(c)
	case at < writing:
		c.add(asks, m.ask)
	case at == writing:
		c.add(writes, m.write)
	case at < using:
		c.add(injects, m.inject)
	default:
		c.add(usesRead, func(w *world, r *modelReplica) {
			m.use(w, r, r.fresh)
			r.rest()
		})
	}
}

// watch shows the target as it is, or as it was.
func (m *machine) watch(c *chooser, t int) {
	for set := range caSet(1 << maxCAs) {
		if c.world.targets[t].ever&(1<<set) != 0 {
			c.add(sees, func(w *world, r *modelReplica) {
				r.views[t].see(set.has(w.newest()))
			})
		}
	}
}

// begin takes a look at the targets, which for each is the newest or an older
// one, and reads the Secret.
func (m *machine) begin(c *chooser) {
	for newest := range 1 << m.targets {
		c.add(reads, func(w *world, r *modelReplica) {
			settled := true
			for t := range m.targets {
				r.views[t].newest = newest&(1<<t) != 0
				settled = settled && r.views[t].newest && w.targets[t].live == w.secret.trusted
			}
			r.fresh, r.behind = w.secret, false
			m.decide(w, r, settled)
			if r.due == doSwitch {
				r.at, r.due = asking, doNone
			}
		})
	}
}

// rest forgets what was read.
func (r *modelReplica) rest() {
	r.at, r.fresh, r.behind, r.due = idle, modelSecret{}, false, doNone
	for t := range r.views {
		r.views[t].newest = false
	}
}

func (m *machine) decide(w *world, r *modelReplica, settled bool) {
	r.due = m.nextFor(question{r.fresh, w.ended, r.views, w.newest(), settled})
	switch {
	case r.due == doNone:
		r.at, r.fresh, r.behind = injecting, r.fresh.worth(), false
	case r.behind && !m.ignoresSecretVersion:
		r.rest() // whenever it writes, it will fail
	default:
		r.at = writing
	}
}

func (m *machine) ask(w *world, r *modelReplica) {
	t := int(r.at) - asking
	r.views[t].see(w.targets[t].live.has(w.newest()))
	r.at++
	if t+1 == m.targets {
		m.decide(w, r, false)
	}
}

func (m *machine) write(w *world, r *modelReplica) {
	w.store(r.fresh.take(steps[r.due], w.made))
	if r.due == doPublish {
		w.made++
		for i := range w.replicas {
			for t := range w.replicas[i].views {
				w.replicas[i].views[t].successor = notSeen
			}
		}
	}
	r.fresh, r.behind, r.due, r.at = w.secret.worth(), false, doNone, injecting
	for i := range w.replicas {
		switch other := &w.replicas[i]; {
		case other.at == writing && !m.ignoresSecretVersion:
			other.rest() // whenever it writes, it will fail
		case other.at >= asking && other.at <= writing:
			other.behind = true
		}
	}
}

func (m *machine) inject(w *world, r *modelReplica) {
	t := int(r.at) - injecting
	r.at++
	if t+1 == m.targets {
		r.at = using
	}
	if !r.views[t].newest && !m.ignoresTargetVersion || w.targets[t].live == r.fresh.trusted {
		return
	}
	w.targets[t].put(r.fresh.trusted)
	for other := range w.replicas {
		w.replicas[other].views[t].newest = false
	}
}

// use is [SelfSigned.use].
func (m *machine) use(w *world, r *modelReplica, s modelSecret) {
	current := int8(-1)
	if s.trusted.has(r.served) && !w.ended.has(r.served) {
		current = r.served
	}
	if m.serves(current, question{s, w.ended, r.views, w.newest(), false}) {
		r.served = s.leaf
	}
}

// A question is what an answer of the real functions depends on.
type question struct {
	secret  modelSecret
	ended   caSet
	views   [maxTargets]modelView
	newest  int8
	settled bool
}

func (m *machine) nextFor(q question) int8 {
	answer, ok := m.steps[q]
	if !ok {
		answer = int8(slices.Index(steps, m.next(q.secret.state(q.ended), m.clients(q.views, q.newest, q.settled), modelNow)))
		m.steps[q] = answer
	}
	return answer
}

func (m *machine) serves(current int8, q question) bool {
	key := served{current, q}
	answer, ok := m.answers[key]
	if !ok {
		var now *leaf
		if current >= 0 {
			now = &leaf{signer: nameOf(current)}
		}
		answer = q.secret.state(q.ended).serves(now, m.clients(q.views, q.newest, false), modelNow)
		m.answers[key] = answer
	}
	return answer
}

type served struct {
	current int8
	question
}
