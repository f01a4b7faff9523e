// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/webhook/replica"
)

// replicas says which servers there are, and whether they are alike.
func replicas(ctx context.Context, opts *Options) *Section {
	s := &Section{Name: "Replicas"}
	all, err := replica.List(ctx, opts.Client.CoordinationV1().Leases(opts.Namespace), opts.Now)
	if s.missed(err) {
		return s
	}
	var versions, generations []string
	for _, r := range all {
		if r.Lost {
			s.problem(r.Host + " has gone without a word; look at its pod, if there still is one")
			continue
		}
		s.fact(fmt.Sprintf("%s: version %s, policies %s, since %s", r.Host, r.Version, orNone(r.Policies), r.Since.UTC().Format("2006-01-02 15:04:05Z")))
		versions, generations = append(versions, r.Version), append(generations, orNone(r.Policies))
	}
	if len(versions) == 0 {
		s.problem("no server is running: look at the Deployment and its pods")
	}
	if versions = distinct(versions); len(versions) > 1 {
		s.problem(fmt.Sprintf("the servers are of different versions (%s): a rolling update is under way or stuck", strings.Join(versions, ", ")))
	}
	if generations = distinct(generations); len(generations) > 1 {
		s.problem(fmt.Sprintf("the servers judge by different policies (%s): look again in a minute, and if that is still so, into their logs", strings.Join(generations, ", ")))
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none yet"
	}
	return s
}

func distinct(values []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}
