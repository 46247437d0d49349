package store

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

func TestDiagnose(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	for i, role := range []Role{RoleOwner, RoleGate, RoleGate} {
		_, _, err := w.CreateToken(WithActor(t.Context(), LocalActor), NewToken{Name: "n", Role: role, Digest: apikey.DigestOf(string(rune('a' + i)))}, nil)
		must(t, err)
	}
	from := w.backUp()
	lost := w.lease("vm", "lost", 1, 10).Lease.ID
	w.restore(from)
	w.lease("vm", "1", 1, 10)
	w.clock.Advance(time.Second)
	w.lease("vm2", "2", 1, 10)
	w.reportIn(1, lost, 4, true)
	w.clock.Advance(time.Second)
	d, err := Diagnose(t.Context(), w.path, w.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if d.Library == "" || d.Bytes == 0 || d.LogBytes == 0 || d.Mode != 0o600 || d.Schema.Version != newestSchema() || len(d.Damage) != 0 ||
		d.Epoch != w.epoch || !d.Learning || d.Lost != (Lost{Leases: 1, Credits: 4}) {
		t.Errorf("%+v", d)
	}
	if age := w.clock.Now().Sub(d.NewestID); age < -2*time.Second || age > time.Minute {
		t.Errorf("newest id %s ago", age)
	}
	if diff := cmp.Diff(map[Role]int{RoleOwner: 1, RoleGate: 2}, d.Tokens); diff != "" {
		t.Error(diff)
	}
	want := []GateSeen{{Gate: "gate-1", VMs: 2, Last: w.clock.Now().Add(-time.Second).Truncate(time.Microsecond).UTC()}}
	if diff := cmp.Diff(want, d.Gates); diff != "" {
		t.Error(diff)
	}
	acts := ""
	must(t, w.readers.QueryRowContext(t.Context(), "SELECT group_concat(action) FROM audit WHERE action LIKE 'database%'").Scan(&acts))
	if acts != "database.restore" {
		t.Errorf("audit log: %q", acts)
	}
}

// A gate that lies about its epoch may say that it has used any number of leases: their sum ends no diagnosis and turns no
// counter back.
func TestLostCreditsBeyondAnInteger(t *testing.T) {
	t.Parallel()
	w := newLeaseWorld(t, LeaseOptions{})
	const each = api.MaxSyncLeases
	for i := range 2 {
		req := &api.SyncRequest{Gate: "liar", Boot: "vm", Epoch: w.epoch + 1}
		for j := range each {
			req.Leases = append(req.Leases, api.LeaseReport{Lease: fmt.Sprintf("lease_%d", i*each+j), Used: api.MaxCredits, Final: true})
		}
		_, err := w.Sync(t.Context(), req)
		must(t, err)
	}
	if n := w.Stats().Lost; n != math.MaxInt64 {
		t.Errorf("counted %d credits lost, want as many as can be", n)
	}
	d, err := Diagnose(t.Context(), w.path, w.clock.Now())
	if err != nil || d.Lost != (Lost{Leases: 2 * each, Credits: api.MaxCredits}) {
		t.Errorf("diagnosed %+v, %v", d.Lost, err)
	}
}

func TestDiagnoseWhatIsNotInOrder(t *testing.T) {
	t.Parallel()
	older, _ := newFirstSchema(t)
	if d, err := Diagnose(t.Context(), older, time.Now()); err != nil || d.Schema.Version != 1 || len(d.Schema.Pending) == 0 {
		t.Errorf("an older one: %+v, %v", d, err)
	}
	newer := fullWorld(t).path
	execIn(t, newer, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	if _, err := Diagnose(t.Context(), newer, time.Now()); !errors.Is(err, ErrSchemaTooNew) {
		t.Errorf("a newer one: %v", err)
	}
}

// A full disk is told of before anything is tried again.
func TestWritable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.Writable(); err != nil {
		t.Error(err)
	}
	w.writer.mu.Lock()
	w.writer.full = true
	w.writer.mu.Unlock()
	if h, err := w.Health(t.Context()); err != nil || !errors.Is(h.Unwritable, ErrDiskFull) {
		t.Errorf("%+v, %v", h, err)
	}
}
