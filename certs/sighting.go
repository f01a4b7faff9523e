// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A sighting is since when it has been known, without a gap, that all webhooks of
// a configuration have a CA. What it was before it was looked at, nobody knows, so
// a replica that starts waits for as long as API servers may take to notice.
type sighting struct {
	uid        types.UID
	generation int64 // of the API: it counts the changes of the webhooks
	since      map[caID]time.Time
}

// update takes note of the configuration; nil is none, or not known.
func (s *sighting) update(c *configuration, now time.Time) {
	if c == nil {
		*s = sighting{}
		return
	}
	same := c.uid == s.uid
	if same && c.generation < s.generation {
		return // a cache is behind
	}
	seen := s.since
	if !same || c.generation > s.generation+1 {
		seen = nil // something was missed
	}
	s.uid, s.generation, s.since = c.uid, c.generation, carryOver(seen, c.trusted(), now)
}

// carryOver returns since when the CAs have been there that are there now.
func carryOver(seen map[caID]time.Time, there []caID, now time.Time) map[caID]time.Time {
	since := map[caID]time.Time{}
	for _, id := range slices.Compact(there) {
		since[id] = now
		if at, ok := seen[id]; ok {
			since[id] = at
		}
	}
	return since
}
