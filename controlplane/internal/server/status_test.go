package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/controlplanetest"
)

type statusBody struct {
	Version         string
	SQLiteVersion   string `json:"sqlite_version"`
	UptimeSeconds   int64  `json:"uptime_seconds"`
	Schema, Epoch   int64
	Writable        bool
	LearningSeconds int64 `json:"learning_seconds"`
	DatabaseBytes   int64 `json:"database_bytes"`
	OpenLeases      int64 `json:"open_leases"`
	ReservedCredits int64 `json:"reserved_credits"`
	Backups         bool
	Gates           []struct {
		Gate        string
		VMs         int
		LastHeardAt time.Time `json:"last_heard_at"`
		Stale       bool
	}
}

func statusOf(t *testing.T, cp *controlplanetest.ControlPlane) statusBody {
	t.Helper()
	return decode[statusBody](t, send(t, cp, request{method: "GET", path: "/v1/status"}), 200)
}

func postGate(t *testing.T, cp *controlplanetest.ControlPlane, path, body string) answer {
	t.Helper()
	return exchange(t, newRequest(t, cp.GateURL, request{
		method: "POST", path: path, body: body, header: http.Header{"Authorization": {"Bearer " + cp.GateToken}},
	}))
}

func metricsOf(t *testing.T, cp *controlplanetest.ControlPlane) string {
	t.Helper()
	return exchange(t, newRequest(t, cp.OpsURL, request{method: "GET", path: "/metrics"})).body
}

// The status tells of gates what was heard of them since the server began, and goes by the test's clock.
func TestStatus(t *testing.T) {
	cp := controlplanetest.New(t)
	key := cp.MustKey(t, cp.MustAccount(t, "active", 100))
	acquire := func(gate, boot string) {
		t.Helper()
		a := postGate(t, cp, "/gate/v1/acquire", fmt.Sprintf(
			`{"gate":%q,"boot":%q,"op_id":"%s-1","scheme":"genrex","digests":["%s"],"cost":1,"want":5,"mode":"lease"}`,
			gate, boot, boot, apikey.DigestOf(key.Secret).Hex()))
		if a.status != 200 {
			t.Fatalf("acquire: %d %s", a.status, a.body)
		}
	}
	if got := statusOf(t, cp); got.Gates == nil || len(got.Gates) != 0 || got.Version == "" || got.SQLiteVersion == "" ||
		got.Schema < 9 || got.Epoch != 1 || !got.Writable || got.DatabaseBytes == 0 || got.Backups {
		t.Errorf("at first: %+v", got)
	}
	acquire("edge-2", "a")
	acquire("edge-1", "b")
	cp.Clock.Advance(45 * time.Second)
	if a := postGate(t, cp, "/gate/v1/sync", `{"gate":"edge-1","boot":"c"}`); a.status != 200 {
		t.Fatalf("sync: %d %s", a.status, a.body)
	}
	cp.Clock.Advance(30 * time.Second)
	got := statusOf(t, cp)
	if len(got.Gates) != 2 || got.UptimeSeconds != 75 || got.OpenLeases != 2 || got.ReservedCredits != 10 {
		t.Fatalf("%+v", got)
	}
	one, two := got.Gates[0], got.Gates[1]
	if one.Gate != "edge-1" || one.VMs != 1 || one.Stale || !one.LastHeardAt.Equal(cp.Clock.Now().Add(-30*time.Second)) {
		t.Errorf("edge-1: %+v", one)
	}
	if two.Gate != "edge-2" || two.VMs != 0 || !two.Stale {
		t.Errorf("edge-2: %+v", two)
	}
	if m := metricsOf(t, cp); !strings.Contains(m, "tollgate_gate_vms 1\n") || !strings.Contains(m, "tollgate_writable 1\n") ||
		!strings.Contains(m, "tollgate_epoch 1\n") || !strings.Contains(m, `tollgate_build_info{go="go`) {
		t.Errorf("metrics:\n%s", m)
	}
}

func TestStatusAfterARestore(t *testing.T) {
	cp := controlplanetest.New(t)
	cp.Restore(t, cp.Backup(t))
	if got := statusOf(t, cp); got.LearningSeconds != 40 || got.Epoch <= 1 {
		t.Errorf("%+v", got)
	}
	cp.Clock.Advance(40 * time.Second)
	cp.CloseExpired(t)
	if got := statusOf(t, cp); got.LearningSeconds != 0 {
		t.Errorf("later: %+v", got)
	}
}

// A gate that knows a later life of the data takes every answer for outdated: somebody put an old file back by hand.
func TestAGateAheadIsToldOf(t *testing.T) {
	cp := controlplanetest.New(t)
	for range 2 {
		if a := postGate(t, cp, "/gate/v1/sync", `{"gate":"edge-1","boot":"c","epoch":7}`); a.status != 200 {
			t.Fatalf("sync: %d %s", a.status, a.body)
		}
	}
	if n := strings.Count(cp.Logs(), "a gate knows a later epoch"); n != 1 {
		t.Errorf("told %d times:\n%s", n, cp.Logs())
	}
}

// A backup by REST is a whole one, in the folder that the server was told of, and in the audit log; only an owner gets it.
func TestBackupByREST(t *testing.T) {
	if a := send(t, controlplanetest.New(t), request{method: "POST", path: "/v1/backups"}); a.status != http.StatusConflict {
		t.Errorf("without a folder: %d %s", a.status, a.body)
	}
	dir := t.TempDir()
	cp := controlplanetest.NewWith(t, controlplanetest.Options{BackupDir: dir})
	cp.MustAccount(t, "active", 5)
	for _, role := range []string{"operator", "viewer"} {
		header := http.Header{"Authorization": {"Bearer " + cp.MustToken(t, role)}}
		if a := send(t, cp, request{method: "POST", path: "/v1/backups", header: header}); a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", role, a.status, a.body)
		}
	}
	got := decode[struct {
		Name           string
		Bytes, Entries int64
	}](t, send(t, cp, request{method: "POST", path: "/v1/backups"}), 201)
	info, err := os.Stat(filepath.Join(dir, got.Name))
	if err != nil || info.Size() != got.Bytes || info.Mode() != 0o600 || got.Entries != 2 {
		t.Errorf("%+v: %v, %v", got, info, err)
	}
	// By a clock that stands the next one would have the same name.
	if a := send(t, cp, request{method: "POST", path: "/v1/backups"}); a.status != http.StatusConflict {
		t.Errorf("again: %d %s", a.status, a.body)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	cp.Restore(t, filepath.Join(dir, got.Name))
	cp.Verify(t)
}

// An operator looks a metric up in the README's table.
func TestREADMEListsEveryMetric(t *testing.T) {
	cp := controlplanetest.New(t)
	postGate(t, cp, "/gate/v1/sync", `{"gate":"edge-1","boot":"a"}`)
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	metrics := regexp.MustCompile(`(?m)^# TYPE (tollgate_\w+)`).FindAllStringSubmatch(metricsOf(t, cp), -1)
	if len(metrics) < 20 {
		t.Errorf("%d metrics", len(metrics))
	}
	for _, m := range metrics {
		if !regexp.MustCompile("`" + m[1] + "[`{]").Match(readme) {
			t.Errorf("README.md does not list the metric %s", m[1])
		}
	}
}
