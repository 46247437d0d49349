package access

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

// A control plane that grants leases and acknowledges no report, for as long as it takes: leases that wait to be closed
// fill the table. Then what is live goes on being used, nothing is forgotten, and who has nothing left asks for each
// request by itself. Once reports are heard, each lease is closed with exactly what was used of it.
func TestReportsAreNeverAcknowledged(t *testing.T) {
	t.Parallel()
	const keys, credits = 8, 5
	d := newDesk(t, Limits{Keys: keys, Flights: 2, Holds: 4})
	used, strict := int64(0), 0
	for turn := range int64(60) {
		name := fmt.Sprint("k", turn%(keys-1))
		a := d.send(name, 1, at(turn))
		if a.Mode == api.ModeStrict {
			strict++
			d.install(a.Flight, &api.AcquireReply{OpID: "op", Verdict: api.Granted,
				Lease: &api.Lease{Credits: 1, Account: "acct_" + name, Key: "key_" + name}}, at(turn), Paid)
			d.admit("live", 1, at(turn), Admitted)
			used++
			continue
		}
		if turn == 0 {
			d.lease("live", 1_000, 60_000, at(turn))
		}
		d.install(a.Flight, d.grant(name, credits, 60_000), at(turn), Installed)
		for range credits {
			d.admit(name, 1, at(turn), Admitted)
			used++
		}
		d.sync(at(turn)) // which is lost
	}
	if strict < 40 {
		t.Fatalf("%d acquires were strict: the table was not full", strict)
	}
	if c := d.Counts(); c.Leases != int64(d.limits.places()) || c.Unsettled != 0 || c.Evicted != 0 {
		t.Errorf("counts %+v, want every place taken, and nothing forgotten", c)
	}
	closed := int64(0)
	reports, round := d.sync(at(50_000))
	for _, r := range reports {
		action := api.LeaseKeep
		if r.Final {
			action = api.LeaseDrop
		}
		d.ack(round, r.Lease, r.Used, action)
		closed += r.Used
	}
	if c := d.Counts(); closed != used || c.Final != 0 || c.Unsettled != 0 {
		t.Errorf("%d credits were reported of %d that were used; counts %+v", closed, used, c)
	}
	d.sync(at(50_001))
	if a := d.send("k0", 1, at(50_002)); a.Mode != api.ModeLease {
		t.Errorf("mode %s once reports are heard, want lease", a.Mode)
	}
}
