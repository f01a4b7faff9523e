// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ready are clients who trust whatever is published; wary ones trust nothing yet.
func ready(r rotation, now time.Time) *clients {
	return &clients{sightings: []map[caID]time.Time{carryOver(nil, idsIn(r.keys.bundle()), now)}, settled: true}
}

func wary() *clients { return &clients{sightings: []map[caID]time.Time{nil}} }

// mustTake takes the step that is due.
func mustTake(t *testing.T, r rotation, want step, names []string, now time.Time) rotation {
	t.Helper()
	require.Equal(t, want, r.state(names, now).next(ready(r, now), now))
	next, err := r.take(want, newProfile(names), now)
	require.NoError(t, err)
	return next
}

func mustRotation(t *testing.T, names []string, now time.Time) rotation {
	t.Helper()
	return mustTake(t, rotation{}, stepReissue, names, now)
}

// published is a rotation in phase publish.
func mustPublish(t *testing.T) rotation {
	t.Helper()
	r := mustRotation(t, names, someDay)
	r.keys = r.keys.with(keyring{caKey: nil})
	return mustTake(t, r, stepPublish, names, someDay)
}

// What the Secret holds decides what is done, and nothing more is done than
// needed. C8: the first row is what the first release has written.
func TestStep(t *testing.T) {
	good := mustKeyring(t, names, someDay)
	foreign := mustKeyring(t, names, someDay)
	otherNames := mustKeyring(t, []string{otherName}, someDay)
	published := mustPublish(t)
	tests := []struct {
		name    string
		have    keyring
		phase   phase
		at      time.Time // by default someDay
		step    step
		trusted int // CAs in the bundle afterwards
	}{
		{name: "good", have: good, trusted: 1},
		{name: "just before two thirds of the leaf's life", have: good, at: someDay.Add(56 * day), trusted: 1},
		{name: "after two thirds of the leaf's life", have: good, at: someDay.Add(60 * day), step: stepRenew, trusted: 1},
		{name: "leaf expired", have: good, at: someDay.Add(91 * day), step: stepRenew, trusted: 1},
		{name: "CA expired", have: good, at: someDay.Add(731 * day), step: stepReissue, trusted: 1},
		{name: "not valid yet", have: good, at: someDay.Add(-2 * time.Hour), step: stepReissue, trusted: 1},
		{name: "nothing", have: nil, step: stepReissue, trusted: 1},
		{name: "garbage", have: keyring{caCert: []byte("a"), caKey: []byte("b"), leafCert: []byte("c"), leafKey: []byte("d")}, step: stepReissue, trusted: 1},
		{name: "no leaf", have: keyring{caCert: good[caCert], caKey: good[caKey]}, step: stepRenew, trusted: 1},
		{name: "leaf cut off", have: good.with(keyring{leafCert: good[leafCert][:100]}), step: stepRenew, trusted: 1},
		{name: "key of another leaf", have: good.with(keyring{leafKey: foreign[leafKey]}), step: stepRenew, trusted: 1},
		{name: "leaf of another CA", have: good.with(keyring{leafCert: foreign[leafCert], leafKey: foreign[leafKey]}), step: stepRenew, trusted: 1},
		{name: "CA as leaf", have: good.with(keyring{leafCert: good[caCert], leafKey: good[caKey]}), step: stepRenew, trusted: 1},
		{name: "no CA key", have: good.with(keyring{caKey: nil}), step: stepPublish, trusted: 2},
		{name: "key of another CA", have: good.with(keyring{caKey: foreign[caKey]}), step: stepPublish, trusted: 2},
		{name: "neither CA key nor leaf", have: keyring{caCert: good[caCert]}, step: stepReissue, trusted: 2},
		{name: "no CA", have: good.with(keyring{caCert: nil}), step: stepReissue, trusted: 1},
		{name: "CA without limits", have: selfMadeCA(t), step: stepReissue, trusted: 1},
		{name: "names that the CA may not sign", have: otherNames, step: stepReissue, trusted: 2},
		{name: "two CAs, the second signs", have: good.with(keyring{caCert: append(append([]byte{}, foreign[caCert]...), good[caCert]...)}), trusted: 2},

		{name: "published", have: published.keys, phase: phasePublish, step: stepSwitch, trusted: 2},
		{name: "published, and no valid leaf", have: published.keys.with(keyring{leafCert: nil}), phase: phasePublish, step: stepSwitch, trusted: 2},
		{name: "published, and the successor's key lost", have: published.keys.with(keyring{nextKey: nil}), phase: phasePublish, step: stepPublish, trusted: 3},
		{name: "published by mistake", have: good, phase: phasePublish, step: stepSettle, trusted: 1},
		{name: "switched by mistake", have: good, phase: phaseSwitch, step: stepRetire, trusted: 1},
		{name: "switched, nobody knows when", have: published.keys.with(keyring{caKey: published.keys[nextKey]}), phase: phaseSwitch, trusted: 2},
		{name: "retired", have: good, phase: phaseRetire, step: stepSettle, trusted: 1},
		{name: "phase of another release", have: good, phase: "paused", trusted: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now := someDay
			if !test.at.IsZero() {
				now = test.at
			}
			have := rotation{keys: test.have, phase: parsePhase(string(test.phase))}
			before := maps.Clone(test.have)
			next := mustTake(t, have, test.step, names, now)
			require.Equal(t, before, test.have, "what was there is not changed")
			require.Len(t, bundled(t, next.keys.bundle()), test.trusted)
			require.True(t, next.keys.verifiable(names, now))
			fresh := test.step == stepRenew || test.step == stepReissue || test.step == stepSwitch
			require.Equal(t, fresh, string(test.have[leafKey]) != string(next.keys[leafKey]))
			require.Equal(t, fresh, string(test.have[leafCert]) != string(next.keys[leafCert]))
			require.Equal(t, test.step == stepReissue || test.step == stepSwitch, string(test.have[caKey]) != string(next.keys[caKey]))
			if test.step == stepRenew {
				require.Equal(t, test.have[caCert], next.keys[caCert])
			}
		})
	}
}

// A rotation goes through its phases, each with the CAs and the signer that the
// one before has prepared.
func TestPhases(t *testing.T) {
	now := someDay
	r := mustRotation(t, names, now)
	first := bundled(t, r.keys.bundle())[0]
	now = now.Add(500 * day)
	r = mustTake(t, r, stepRenew, names, now)
	leafOfFirst := mustLeafAt(t, r, now)

	r = mustTake(t, r, stepPublish, names, now)
	require.Equal(t, phasePublish, r.phase)
	require.Equal(t, leafOfFirst, mustLeafAt(t, r, now))
	second := bundled(t, r.keys.bundle())[1]
	require.Equal(t, stepNone, r.state(names, now).next(wary(), now), "clients do not trust the new CA yet")
	later := now.Add(60 * day)
	published := string(r.keys.bundle())
	renewed := mustTake(t, r, stepRenew, names, later)
	require.NoError(t, mustLeafAt(t, renewed, later).CheckSignatureFrom(first), "only the old CA signs")

	r = mustTake(t, r, stepSwitch, names, now)
	require.Equal(t, phaseSwitch, r.phase)
	require.NoError(t, mustLeafAt(t, r, now).CheckSignatureFrom(second))
	require.NoError(t, r.keys.verify(leafOfFirst, names, now), "the old leaf may still be served")
	require.NotContains(t, r.keys, nextKey)
	require.Equal(t, published, string(r.keys.bundle()), "there is nothing to inject")
	require.Equal(t, leafOfFirst.NotAfter.Add(time.Hour), r.retireAfter)
	require.Equal(t, stepNone, r.state(names, now).next(ready(r, now), now))

	now = r.retireAfter.Add(time.Second)
	r = mustTake(t, r, stepRenew, names, now)
	r = mustTake(t, r, stepRetire, names, now)
	require.Equal(t, phaseRetire, r.phase)
	require.Equal(t, idOf(second), idOf(bundled(t, r.keys.bundle())[0]))
	require.Len(t, bundled(t, r.keys.bundle()), 1)
	require.Equal(t, stepNone, r.state(names, now).next(&clients{}, now), "a webhook configuration still has the old CA")

	r = mustTake(t, r, stepSettle, names, now)
	require.Equal(t, phaseSteady, r.phase)
	require.Equal(t, stepNone, r.state(names, now).next(ready(r, now), now))
}

// However long nobody trusts the new CA, the old one signs, as long as it lives;
// then the new one is the best there is.
func TestRotationIsHeldUp(t *testing.T) {
	r, taken := mustRotation(t, names, someDay), map[step]int{}
	for now := someDay; !now.After(someDay.Add(731 * day)); now = now.Add(day) {
		if s := r.state(names, now).next(wary(), now); s != stepNone {
			next, err := r.take(s, newProfile(names), now)
			require.NoError(t, err)
			r, taken[s] = next, taken[s]+1
		}
		require.True(t, r.keys.verifiable(names, now), now)
	}
	require.Equal(t, 1, taken[stepPublish])
	require.Equal(t, 1, taken[stepSwitch])
	require.Zero(t, taken[stepReissue])
	require.NoError(t, r.keys.verify(mustLeafAt(t, r, someDay.Add(731*day)), names, someDay.Add(731*day)))
}

// The bundle does not grow for ever, and no CA is dropped whose leaf can be served.
func TestRotateForYears(t *testing.T) {
	r, cas, taken := mustRotation(t, names, someDay), map[string]bool{}, map[step]int{}
	// A rotation that has begun within the 20 years is looked at to its end.
	for now := someDay; now.Before(someDay.Add(20*365*day)) || r.phase != phaseSteady; now = now.Add(5 * day) {
		if s := r.state(names, now).next(ready(r, now), now); s != stepNone {
			before := mustLeafAt(t, r, now)
			next, err := r.take(s, newProfile(names), now)
			require.NoError(t, err)
			require.NoError(t, next.keys.verify(before, names, now), "who trusts the new bundle must trust the old leaf")
			r, taken[s] = next, taken[s]+1
		}
		require.LessOrEqual(t, len(bundled(t, r.keys.bundle())), 2)
		cas[string(r.keys[caKey])] = true
	}
	require.Contains(t, []int{15, 16}, len(cas), "20 years by CAs of 462 to 490 days")
	for _, s := range []step{stepPublish, stepSwitch, stepRetire, stepSettle} {
		require.Equal(t, len(cas)-1, taken[s], s)
	}
	require.Zero(t, taken[stepReissue])
}

// While replicas want different names, they must not replace each other's
// certificate for ever; afterwards the old names go.
func TestRenewForOtherNames(t *testing.T) {
	r := mustRotation(t, names, someDay)
	others := []string{otherName}
	r = mustTake(t, r, stepReissue, others, someDay)
	require.Equal(t, phaseSwitch, r.phase, "the old CA is trusted until its leaf has ended")
	mustTake(t, r, stepNone, names, someDay)
	mustTake(t, r, stepNone, others, someDay)
	require.ElementsMatch(t, []string{serviceName, otherName}, mustLeafAt(t, r, someDay).DNSNames)

	r = mustTake(t, r, stepRenew, others, someDay.Add(60*day))
	require.Equal(t, others, mustLeafAt(t, r, someDay.Add(60*day)).DNSNames)
}
