package access

import (
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/controlplane/api"
)

const second = 1_000_000_000

// at is an instant so many milliseconds after some beginning, by both clocks.
func at(ms int64) Instant {
	return Instant{Mono: 5*second + ms*nanosPerMilli, Wall: 1_700_000_000*second + ms*nanosPerMilli}
}

// desk is a small table in a test, and a control plane that grants what it is told to.
type desk struct {
	*Leases
	t   *testing.T
	ids int
	// cursor and epoch go into the next replies.
	cursor, epoch int64
}

func newDesk(t *testing.T, m Limits) *desk {
	t.Helper()
	if m.Keys == 0 {
		m.Keys = 8
	}
	if m.Flights == 0 {
		m.Flights = 4
	}
	if m.Holds == 0 {
		m.Holds = 4
	}
	if m.Denials == 0 {
		m.Denials = 4
	}
	return &desk{Leases: NewLeases(m, [16]byte{1, 2, 3}), t: t, epoch: 1}
}

func (d *desk) tag(name string) Tag { return d.Tag(0, name, "") }

// send asks for name, which has to lead to a new acquire.
func (d *desk) send(name string, cost int64, now Instant) Asking {
	d.t.Helper()
	a := d.Ask(d.tag(name), cost, now)
	if a.Turn != Send {
		d.t.Fatalf("ask for %s: turn %d, want Send", name, a.Turn)
	}
	return a
}

// grant is a reply with a lease for name: of account "acct_"+name and key "key_"+name, in project "proj_"+name.
func (d *desk) grant(name string, credits, ttlMillis int64) *api.AcquireReply {
	r := &api.AcquireReply{OpID: "op", Verdict: api.Granted, Cursor: d.cursor, Epoch: d.epoch, Lease: &api.Lease{
		Credits: credits, TTLMillis: ttlMillis, Available: 1_000,
		Account: "acct_" + name, Project: "proj_" + name, Key: "key_" + name}}
	if credits > 0 {
		d.ids++
		r.Lease.ID = fmt.Sprintf("lease_%d", d.ids)
	}
	return r
}

func (d *desk) deny(v api.Verdict, retryMillis int64) *api.AcquireReply {
	return &api.AcquireReply{OpID: "op", Verdict: v, RetryMillis: retryMillis, Cursor: d.cursor, Epoch: d.epoch}
}

// lease asks for name at now and installs what is granted at once.
func (d *desk) lease(name string, credits, ttlMillis int64, now Instant) string {
	d.t.Helper()
	var a Asking
	if credits > 0 {
		a = d.send(name, 1, now)
		d.flights.all[a.Flight.place-1].want = credits
	} else {
		a = d.send(name, 0, now)
	}
	r := d.grant(name, credits, ttlMillis)
	d.install(a.Flight, r, now, Installed)
	return r.Lease.ID
}

func (d *desk) install(f Flight, r *api.AcquireReply, now Instant, want Result) Outcome {
	d.t.Helper()
	o := d.Install(f, r, now)
	if o.Result != want {
		d.t.Fatalf("install %s: result %d, want %d", r.Verdict, o.Result, want)
	}
	return o
}

func (d *desk) admit(name string, cost int64, now Instant, want Standing) Admission {
	d.t.Helper()
	a := d.Admit(d.tag(name), cost, now)
	if a.Standing != want {
		d.t.Fatalf("admit %s for %d: standing %d, want %d", name, cost, a.Standing, want)
	}
	return a
}

// sync returns what is reported at now, after a sweep.
func (d *desk) sync(now Instant) ([]api.LeaseReport, Round) {
	d.Sweep(now)
	reports, r, _ := d.Reports(nil, api.MaxSyncLeases, now)
	return reports, r
}

func (d *desk) ack(r Round, lease string, used int64, action api.LeaseAction) {
	d.Synced(r, &api.SyncReply{Leases: []api.LeaseAck{{Lease: lease, Used: used, Action: action}}})
}

func (d *desk) change(seq int64, kind api.ChangeKind, id string) {
	_, r := d.sync(at(6))
	d.Synced(r, &api.SyncReply{Changes: []api.Change{{Seq: seq, Kind: kind, ID: id}}, Cursor: seq, Epoch: d.epoch})
}
