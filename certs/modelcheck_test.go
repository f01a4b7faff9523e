// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A search goes through all worlds that can be reached.
type search struct {
	*machine
	seed  maphash.Seed
	known map[uint64]origin
	// counts of worlds
	phases map[phase]int
	ends   int // steady after all rotations, and all replicas serve the last CA
}

// An origin is the world before and what happened then. The first has none.
type origin struct {
	from uint64
	event
}

// key is the same for worlds that differ only in the order of replicas.
func (s *search) key(w *world) uint64 {
	var keys [maxReplicas]uint64
	for r := range w.replicas {
		keys[r] = maphash.Comparable(s.seed, w.replicas[r])
	}
	slices.Sort(keys[:])
	return maphash.Comparable(s.seed, struct {
		secret   modelSecret
		targets  [maxTargets]modelTarget
		replicas [maxReplicas]uint64
		ended    caSet
		made     int8
	}{w.secret, w.targets, keys, w.ended, w.made})
}

// run returns how to get to a broken world, or nothing if there is no way.
func (s *search) run() []string {
	s.seed, s.known, s.phases = maphash.MakeSeed(), map[uint64]origin{}, map[phase]int{}
	start := newWorld()
	s.known[s.key(&start)] = origin{}
	frontier, moves := []world{start}, []move(nil)
	for len(frontier) > 0 {
		var next []world
		for i := range frontier {
			from := s.key(&frontier[i])
			moves = s.moves(&frontier[i], moves)
			for j := range moves {
				move := &moves[j]
				key := s.key(&move.to)
				if _, ok := s.known[key]; ok {
					continue
				}
				s.known[key] = origin{from, move.event}
				if err := move.to.broken(s.machine); err != nil {
					return append(s.way(key), err.Error())
				}
				s.count(&move.to)
				next = append(next, move.to)
			}
		}
		frontier = next
	}
	return nil
}

func (s *search) count(w *world) {
	s.phases[phases[w.secret.phase]]++
	if phases[w.secret.phase] == phaseSteady && w.made > s.rotations {
		s.ends++
	}
}

func (s *search) way(key uint64) []string {
	var way []string
	for o := s.known[key]; o.from != 0; o = s.known[o.from] {
		way = append(way, o.String())
	}
	slices.Reverse(way)
	return way
}

// TestModel goes through all that can happen in a rotation: what is left out is
// said at [maxReplicas] and [modelView].
func TestModel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name              string
		replicas, targets int
		rotations         int8
		renewals          bool
	}{
		{"one replica, two rotations", 1, 2, 2, true},
		{"two replicas, two rotations", 2, 1, 2, true},
		{"two replicas, two targets", 2, 2, 1, false},
		{"three replicas", 3, 1, 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := soundMachine(test.replicas, test.targets)
			m.rotations, m.renewals = test.rotations, test.renewals
			s := &search{machine: m}
			require.Empty(t, strings.Join(s.run(), "\n"))
			t.Logf("%d worlds, by phase: %v", len(s.known), s.phases)
			for _, p := range phases {
				require.NotZero(t, s.phases[p], p)
			}
			require.NotZero(t, s.ends, "all rotations end")
		})
	}
}

// Three replicas and two targets are too much to go through, so here are samples
// of what can happen.
func TestModelAtRandom(t *testing.T) {
	t.Parallel()
	m := soundMachine(maxReplicas, maxTargets)
	m.renewals = true
	const walks, length = 2000, 1500
	ended := 0
	for seed := range uint64(walks) {
		random := rand.New(rand.NewPCG(seed, 0))
		w, moves, way := newWorld(), []move(nil), []event(nil)
		for range length {
			moves = m.moves(&w, moves)
			next := moves[random.IntN(len(moves))]
			if next.what == dies && random.IntN(20) > 0 {
				continue // else nobody gets anywhere
			}
			w, way = next.to, append(way, next.event)
			if err := w.broken(m); err != nil {
				require.NoError(t, err, way)
			}
		}
		if w.made > m.rotations && phases[w.secret.phase] == phaseSteady {
			ended++
		}
	}
	require.Greater(t, ended, walks/10, "walks with two rotations")
}

// Whatever has happened, a rotation ends if replicas go on and live.
func TestModelEnds(t *testing.T) {
	t.Parallel()
	m := soundMachine(2, 2)
	m.rotations = 1
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		w, moves := newWorld(), []move(nil)
		for range random.IntN(300) {
			moves = m.moves(&w, moves)
			w = moves[random.IntN(len(moves))].to
		}
		w.secret.signerDue = w.made <= m.rotations
		for range 20 {
			w = m.round(w)
		}
		require.Equal(t, phaseSteady, phases[w.secret.phase], seed)
		require.Equal(t, setOf(1), w.secret.trusted)
		for t2 := range m.targets {
			require.Equal(t, setOf(1), w.targets[t2].live)
		}
		for r := range m.replicas {
			require.Equal(t, int8(1), w.replicas[r].served)
		}
	}
}

// round is what happens when watches are on time and each replica reconciles once.
func (m *machine) round(w world) world {
	for r := range m.replicas {
		for w.replicas[r].at != idle {
			w = m.moved(w, r, -1)
		}
		for t := range m.targets {
			w.replicas[r].views[t].see(w.targets[t].live.has(w.newest()))
		}
		w = m.moved(w, r, reads) // the last of those: all looks are the newest
		for w.replicas[r].at != idle {
			w = m.moved(w, r, -1)
		}
	}
	for _, move := range m.fate(&w) {
		if move.what == dwellPasses || move.what == oldLeafEnds {
			w = move.to
		}
	}
	return w
}

// moved lets the replica do the last of the things of that kind that it can do.
func (m *machine) moved(w world, r int, what int8) world {
	next := w
	for _, move := range m.moves(&w, nil) {
		if move.replica == int8(r) && (move.what == what || what < 0 && move.what != dies) {
			next = move.to
		}
	}
	return next
}

// The check finds what is wrong with a machine that leaves something out.
func TestModelFindsFaults(t *testing.T) {
	t.Parallel()
	next := (*state).next
	tests := []struct {
		name  string
		fault func(m *machine)
	}{
		{"no dwell", func(m *machine) { m.dwell = 0 }},
		{"switches without having looked at the targets", func(m *machine) {
			m.next = func(s *state, _ *clients, now time.Time) step { return next(s, &clients{}, now) }
		}},
		{"switches when one of the targets has the CA", func(m *machine) {
			m.next = func(s *state, c *clients, now time.Time) step {
				return next(s, &clients{sightings: c.sightings[:1], dwell: c.dwell, settled: c.settled}, now)
			}
		}},
		{"retires at once", func(m *machine) {
			m.next = func(s *state, c *clients, now time.Time) step {
				if s.phase == phaseSwitch {
					return stepRetire
				}
				return next(s, c, now)
			}
		}},
		{"replaces the CA in one step", func(m *machine) {
			m.next = func(s *state, c *clients, now time.Time) step {
				if s.phase == phasePublish {
					return stepSwitch
				}
				return next(s, c, now)
			}
		}},
		{"overwrites the Secret", func(m *machine) { m.ignoresSecretVersion = true }},
		{"overwrites targets", func(m *machine) { m.ignoresTargetVersion = true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := soundMachine(2, 2)
			test.fault(m)
			way := (&search{machine: m}).run()
			require.NotEmpty(t, way)
			t.Log(strings.Join(way, "\n"))
		})
	}
}

// What the model makes of a step is what becomes of the real Secret, and it
// takes the same steps.
func TestModelIsLikeTheSecret(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := someDay
	r := mustRotation(t, names, now)
	numbers := map[caID]int8{}
	taken := map[step]int{}
	for len(numbers) < maxCAs || r.phase != phaseSteady {
		now = now.Add(time.Duration(random.IntN(40)) * 6 * time.Hour)
		before := abstract(r, now, numbers)
		c := wary()
		if random.IntN(3) == 0 {
			c = ready(r, now)
		}
		do := r.state(names, now).next(c, now)
		ended := caSet(0)
		if !r.retireAfter.IsZero() && now.After(r.retireAfter) {
			ended = before.trusted &^ setOf(before.signer)
		}
		views := [maxTargets]modelView{}
		if c.settled {
			views[0].successor = seenLong
		}
		m := soundMachine(1, 1)
		require.Equal(t, do, m.next(before.state(ended), m.clients(views, int8(len(numbers)-1), c.settled), modelNow))
		next, err := r.take(do, newProfile(names), now)
		require.NoError(t, err)
		taken[do]++
		r = next
		made := int8(len(numbers))
		after := abstract(r, now, numbers)
		if do != stepNone {
			require.Equal(t, before.take(do, made), after, do)
		}
	}
	for _, do := range steps {
		require.NotZero(t, taken[do], do)
	}
}

// abstract returns what the model knows of a rotation. CAs are numbered as they
// are met.
func abstract(r rotation, now time.Time, numbers map[caID]int8) modelSecret {
	number := func(id caID) int8 {
		if _, ok := numbers[id]; !ok {
			numbers[id] = int8(len(numbers))
		}
		return numbers[id]
	}
	full := r.state(names, now)
	s := modelSecret{phase: uint8(slices.Index(phases, r.phase)), successor: -1}
	for _, id := range full.trusted {
		s.trusted |= setOf(number(id))
	}
	s.signer, s.signerDue = number(full.signer.id), full.signer.due(now)
	s.leaf, s.leafDue = number(full.leaf.signer), full.leaf.due(now)
	if full.successor != nil {
		s.successor = number(full.successor.id)
	}
	return s
}
