//go:build !wasip1

package main

import (
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
	"github.com/tollgate/tollgate/testenv"
)

// A VM with more leases than fit into a report sends one after another until each has had its turn, and then none for a
// second: what is used becomes known as fast with many keys as with few, and leases that are over leave the table.
func TestManyLeasesAreReportedEachSecond(t *testing.T) {
	t.Parallel()
	const keys = 600
	plan := testenv.OnPath(api.SyncPath, testenv.Every(testenv.Play{Return: 10 * time.Millisecond}), nil)
	g := newLeaseGate(t, controlplanetest.Options{LeaseTTL: time.Minute}, strict, plan, 1_000_000)
	var requests []testenv.Request
	for range keys {
		requests = append(requests, document(bearer(g.cp.MustKey(t, g.account).Secret)))
	}
	all := func() {
		for _, r := range requests {
			g.Check(t, r, testenv.Want{Decision: testenv.Forwarded, Status: 200})
		}
	}
	all()
	g.Advance(3500 * time.Millisecond) // not when a sync is due
	for range 2 {
		before := len(g.syncs(t))
		all()
		g.Advance(time.Second)
		var reported []string
		var sent []time.Duration
		for _, c := range g.Callouts() {
			if c.Header(":path") == api.SyncPath {
				sent = append(sent, c.Sent)
			}
		}
		for _, r := range g.syncs(t)[before:] {
			for _, l := range r.Leases {
				reported = append(reported, l.Lease)
			}
		}
		slices.Sort(reported)
		if n := len(slices.Compact(slices.Clone(reported))); n != keys || len(reported) != keys {
			t.Errorf("%d reports of %d leases within a second, want one of each of %d", len(reported), n, keys)
		}
		if sent = sent[before:]; len(sent) != 2 || sent[1]-sent[0] != 10*time.Millisecond {
			t.Errorf("syncs at %s, want two, one right after the other", sent)
		}
	}
	g.closeBooks(t, 3*3*keys)
}
