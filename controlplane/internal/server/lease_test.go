package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

// leaseMessage is a good acquire under lease mode.
func leaseMessage(boot, op, secret string, cost, want int64) string {
	b, err := json.Marshal(api.AcquireRequest{
		Gate: "edge-1", Boot: boot, OpID: boot + "-" + op, Scheme: "genrex", Digests: []string{apikey.DigestOf(secret).Hex()},
		Cost: cost, Want: want, Mode: api.ModeLease,
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (f *fixture) lease(t *testing.T, boot, op, secret string, cost, want int64) api.AcquireReply {
	t.Helper()
	message := leaseMessage(boot, op, secret, cost, want)
	var req api.AcquireRequest
	if err := json.Unmarshal([]byte(message), &req); err != nil {
		t.Fatal(err)
	}
	reply := decode[api.AcquireReply](t, acquire(t, f, message, nil), 200)
	if err := reply.Validate(&req); err != nil {
		t.Fatalf("%v: %+v", err, reply)
	}
	return reply
}

func (f *fixture) sync(t *testing.T, body string) api.SyncReply {
	t.Helper()
	return decode[api.SyncReply](t, answer{status: 200, body: syncOK(t, f, body)}, 200)
}

// The life of a lease as a gate sees it, and what operators see of it.
func TestLeaseOverHTTP(t *testing.T) {
	f := newFixture(t)
	first := f.lease(t, "b1", "1", f.key.Secret, 2, 400)
	if first.Verdict != api.Granted || first.Lease.Credits != 400 || first.Lease.TTLMillis != 10_000 || first.Epoch != 1 {
		t.Fatalf("%+v %+v", first, first.Lease)
	}
	f.metric(t, `tollgate_leases_open 1`, `tollgate_credits_reserved 400`, `tollgate_credits_stranded 0`)
	reply := f.sync(t, fmt.Sprintf(`{"gate":"edge-1","boot":"b1","leases":[{"lease":"%s","used":30}],"cursor":%d,"epoch":1,
		"usage":{"seq":1,"rows":[{"key":"%s","route":"/v1/","conversation":"c","requests":15,"credits":30},{"route":"other","requests":1,"credits":0,"refused":1}]}}`,
		first.Lease.ID, first.Cursor, f.key.ID))
	if len(reply.Leases) != 1 || reply.Leases[0].Used != 30 || reply.Leases[0].Action != api.LeaseKeep || reply.UsageSeq != 1 ||
		reply.Epoch != 1 || reply.Cursor != first.Cursor || len(reply.Changes) != 0 {
		t.Errorf("%+v", reply)
	}
	if w := f.MustWallet(t, f.account); w.Available != 600 || w.Reserved != 370 || w.Spent != 30 {
		t.Errorf("wallet %+v", w)
	}

	// Another VM wants more than is left: the first is asked for what it has.
	if got := f.lease(t, "b2", "1", f.key.Secret, 700, 700); got.Verdict != api.InsufficientCredits || got.RetryMillis != 1000 || got.Lease == nil {
		t.Errorf("%+v", got)
	}
	f.MustRevokeKey(t, f.key.ID)
	f.Clock.Advance(700 * time.Millisecond)
	reply = f.sync(t, fmt.Sprintf(`{"gate":"edge-1","boot":"b1","cursor":%d}`, first.Cursor))
	if len(reply.Leases) != 1 || reply.Leases[0].Action != api.LeaseDrain {
		t.Errorf("leases %+v, want one to drain", reply.Leases)
	}
	if len(reply.Changes) != 1 || reply.Changes[0] != (api.Change{Seq: reply.Cursor, Kind: api.ChangeKey, ID: f.key.ID}) {
		t.Errorf("changes %+v", reply.Changes)
	}
	f.Clock.Advance(20 * time.Second)
	f.metric(t, `tollgate_credits_stranded 370`)
	reply = f.sync(t, fmt.Sprintf(`{"gate":"edge-1","boot":"b1","leases":[{"lease":"%s","used":50,"final":true},{"lease":"lease_x","used":1}]}`, first.Lease.ID))
	if reply.Leases[0].Action != api.LeaseDrop || reply.Leases[1].Action != api.LeaseDrop {
		t.Errorf("leases %+v, want both dropped", reply.Leases)
	}
	if w := f.MustWallet(t, f.account); w.Available != 950 || w.Reserved != 0 || w.Spent != 50 {
		t.Errorf("wallet %+v", w)
	}
	want := "release available 350"
	if kinds := f.entryKinds(t); !strings.Contains(strings.Join(kinds, "\n"), want) {
		t.Errorf("no %q in %q", want, kinds)
	}
	f.Verify(t)
	f.metric(t, `tollgate_leases_open 0`, `tollgate_leases_total{event="granted"} 1`, `tollgate_leases_total{event="final"} 1`,
		`tollgate_leases_drained_total 1`, `tollgate_lease_reports_dropped_total 1`, `tollgate_usage_batches_total 1`,
		`tollgate_changes_total{kind="key"} 1`, `tollgate_credits_moved_total{kind="use"} 50`,
		`tollgate_credits_moved_total{kind="release"} 350`, `tollgate_credits_moved_total{kind="late_write_off"} 0`,
		`tollgate_change_told_seconds_count 1`, `tollgate_change_told_seconds_bucket{le="0.5"} 0`, `tollgate_change_told_seconds_bucket{le="0.75"} 1`,
		`tollgate_invariant_breaches_total 0`, `tollgate_acquires_total{mode="lease",verdict="granted"} 1`,
		`tollgate_sync_operations_total{kind="lease"} 3`)
	metrics := exchange(t, newRequest(t, f.OpsURL, request{method: "GET", path: "/metrics"})).body
	for _, name := range []string{`tollgate_commit_jobs_bucket{le="512"}`, `tollgate_commit_duration_seconds_count`} {
		if !strings.Contains(metrics, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
}

// A lease may not hold credits of a scheme that has none, but tells who is calling.
func TestLeaseOfASchemeWithoutBalance(t *testing.T) {
	schemes, err := apikey.ParseSchemes([]byte(`{"genrex": {"preset": "genrex", "balance": false}}`))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{ControlPlane: controlplanetest.NewWithSchemes(t, schemes)}
	key := f.MustKey(t, f.MustAccount(t, "active", 100))
	for location, amounts := range map[string][2]int64{"body.cost": {1, 1}, "body.want": {0, 1}} {
		a := acquire(t, f, leaseMessage("b1", "1", key.Secret, amounts[0], amounts[1]), nil)
		if p := wholeProblem(t, a); a.status != http.StatusBadRequest || len(p.Errors) != 1 || p.Errors[0].Location != location {
			t.Errorf("%s: got %d %s", location, a.status, a.body)
		}
	}
	if got := f.lease(t, "b1", "2", key.Secret, 0, 0); got.Verdict != api.Granted || got.Lease.Credits != 0 || got.Lease.TTLMillis == 0 {
		t.Errorf("%+v", got)
	}
}

// What is wrong with the lease part of a sync is told by its place, and nothing of the sync is done.
func TestBadSyncLeases(t *testing.T) {
	f := newFixture(t)
	l := f.lease(t, "b1", "1", f.key.Secret, 1, 10).Lease
	good := fmt.Sprintf(`{"lease":"%s","used":5}`, l.ID)
	for name, tt := range map[string]struct{ field, location string }{
		"no array":            {`"leases":{}`, "body.leases"},
		"no lease":            {`"leases":[` + good + `,{"used":5}]`, "body.leases[1].lease"},
		"no used":             {`"leases":[` + good + `,{"lease":"lease_x"}]`, "body.leases[1].used"},
		"used negative":       {`"leases":[` + good + `,{"lease":"lease_x","used":-1}]`, "body.leases[1].used"},
		"used huge":           {`"leases":[` + good + `,{"lease":"lease_x","used":9007199254740992}]`, "body.leases[1].used"},
		"used fraction":       {`"leases":[` + good + `,{"lease":"lease_x","used":1.0}]`, "body.leases[1].used"},
		"final text":          {`"leases":[` + good + `,{"lease":"lease_x","used":1,"final":"true"}]`, "body.leases[1].final"},
		"final null":          {`"leases":[` + good + `,{"lease":"lease_x","used":1,"final":null}]`, "body.leases[1].final"},
		"unknown field":       {`"leases":[{"lease":"lease_x","used":1,"delta":1}]`, "body.leases[0].delta"},
		"used twice":          {`"leases":[{"lease":"lease_x","used":1,"used":2}]`, "body.leases[0].used"},
		"usage array":         {`"leases":[` + good + `],"usage":[]`, "body.usage"},
		"usage null":          {`"leases":[` + good + `],"usage":null`, "body.usage"},
		"usage without rows":  {`"leases":[` + good + `],"usage":{"seq":1}`, "body.usage.rows"},
		"usage seq 0":         {`"leases":[` + good + `],"usage":{"seq":0,"rows":[]}`, "body.usage.seq"},
		"row without a route": {`"leases":[` + good + `],"usage":{"seq":1,"rows":[{"requests":1,"credits":1}]}`, "body.usage.rows[0].route"},
		"row negative":        {`"leases":[` + good + `],"usage":{"seq":1,"rows":[{"route":"/","requests":-1,"credits":1}]}`, "body.usage.rows[0].requests"},
		"cursor negative":     {`"leases":[` + good + `],"cursor":-1`, "body.cursor, epoch"},
		"cursor text":         {`"leases":[` + good + `],"cursor":"1"`, "body.cursor"},
	} {
		a := postSync(t, f, `{"gate":"edge-1","boot":"b1",`+tt.field+`}`, nil)
		p, found := wholeProblem(t, a), false
		for _, e := range p.Errors {
			found = found || e.Location == tt.location
		}
		if a.status != http.StatusBadRequest || !found {
			t.Errorf("%s: got %d, no error at %s: %s", name, a.status, tt.location, a.body)
		}
	}
	if w := f.MustWallet(t, f.account); w.Spent != 0 || w.Reserved != 10 {
		t.Errorf("wallet %+v", w)
	}
}

// The most reports and the largest usage rows that fit are taken in one message.
func TestLargestLeaseSync(t *testing.T) {
	f := newFixture(t)
	var b strings.Builder
	b.WriteString(`{"gate":"edge-1","boot":"b1","leases":[`)
	for i := range api.MaxSyncLeases {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"lease":"%s%04d","used":%d,"final":true}`, strings.Repeat("l", api.MaxIDLen-4), i, int64(api.MaxCredits))
	}
	b.WriteString(`]}`)
	if b.Len() > api.MaxSyncBytes {
		t.Fatalf("%d bytes, more than %d", b.Len(), api.MaxSyncBytes)
	}
	if got := f.sync(t, b.String()); len(got.Leases) != api.MaxSyncLeases {
		t.Errorf("%d answers", len(got.Leases))
	}
}
