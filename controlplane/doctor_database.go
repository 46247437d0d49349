package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// What a database may come to before it is pointed out.
const (
	// longLog is a write-ahead log that somebody's long reading has kept from being folded in.
	longLog = 256 << 20
	// clockSlack is how far ids may be ahead of a clock that is right.
	clockSlack = time.Minute
	// clockStep is more than NTP slews a clock by while doctor looks.
	clockStep = 100 * time.Millisecond
	// staleAfter is how long a gate may be silent while others are heard of.
	staleAfter = time.Hour
)

// examineDatabase looks at what is in the file.
func (c *doctorCommand) examineDatabase(ctx context.Context, found *checks) {
	now := time.Now()
	d, err := store.Diagnose(ctx, c.DB, now)
	switch {
	case errors.Is(err, store.ErrSchemaTooNew):
		found.bad("schema", failing, "use the newer tollgate again, or restore a backup from before it", "%v", err)
		return
	case err != nil:
		found.bad("database", failing, "if it is damaged, restore the newest backup: tollgate restore", "%v", err)
		return
	}
	examineFile(&d, found)
	if len(d.Damage) > 0 {
		return
	}
	if len(d.Schema.Pending) > 0 {
		found.bad("schema", failing, "tollgate migrate, with serve stopped", "version %d, this program knows %d", d.Schema.Version, d.Schema.Newest)
		return
	}
	found.ok("schema", "version %d, epoch %d", d.Schema.Version, d.Epoch)
	examineClock(&d, c.began, now, found)
	examineTokens(&d, found)
	examineRestore(&d, found)
	examineGates(d.Gates, now, found)
	c.examineBooks(ctx, found)
}

func examineFile(d *store.Diagnosis, found *checks) {
	if len(d.Damage) > 0 {
		found.bad("database", failing, "stop serve, keep the file, and restore the newest backup: tollgate restore --replace",
			"damaged: %s", strings.Join(d.Damage, "; "))
	} else {
		found.ok("database", "%s, every page is whole (SQLite %s)", size(d.Bytes), d.Library)
	}
	if d.Mode.Perm()&0o077 != 0 {
		found.bad("permissions", warning, "chmod 600: it holds digests of keys and tokens, and the books", "others than the owner may use the file: %v", d.Mode)
	}
	if d.LogBytes > longLog {
		found.bad("log", warning, "something reads the database for very long (a verify, a backup, a shell); end it", "the write-ahead log has %s", size(d.LogBytes))
	} else {
		found.ok("log", "%s to be folded in", size(d.LogBytes))
	}
}

func examineClock(d *store.Diagnosis, began, now time.Time, found *checks) {
	// Round takes the monotonic reading away.
	if step := (now.Round(0).Sub(began.Round(0)) - now.Sub(began)).Abs(); step > clockStep {
		found.bad("clock", warning, "let NTP slew it instead of stepping it", "it was set by %s while doctor looked", step.Round(time.Millisecond))
		return
	}
	if ahead := d.NewestID.Sub(now); ahead > clockSlack {
		found.bad("clock", warning, "set the clock right, and keep it so with NTP; keys expire by it",
			"it says %s, and what was recorded last is %s newer", now.UTC().Format(time.RFC3339), ahead.Round(time.Second))
		return
	}
	found.ok("clock", "it says %s, which is not before what was recorded last", now.UTC().Format(time.RFC3339))
}

func examineTokens(d *store.Diagnosis, found *checks) {
	admins := d.Tokens[store.RoleOwner]
	switch {
	case admins == 0:
		found.bad("tokens", failing, "tollgate token create --role owner --name NAME", "nobody has a token of role owner")
	case d.Tokens[store.RoleGate] == 0:
		found.bad("tokens", failing, "tollgate token create --role gate --name NAME, for the proxy's TOLLGATE_GATE_TOKEN", "no gate has a token")
	default:
		found.ok("tokens", "%d of owners, %d of gates", admins, d.Tokens[store.RoleGate])
	}
}

// examineRestore is silent about a database that was never restored.
func examineRestore(d *store.Diagnosis, found *checks) {
	if d.Learning {
		found.bad("restore", warning, "nothing: it ends by itself, ttl + grace after serve has begun", "restored from a backup; leases hold one request's credits until those from before are over")
	}
	if d.Lost.Leases > 0 {
		found.bad("lost leases", warning, "see whose they were (lost_leases here, leases in the database that was replaced), and adjust the accounts",
			"gates have used %d credits of %d leases that the restored backup does not know", d.Lost.Credits, d.Lost.Leases)
	}
}

func examineGates(gates []store.GateSeen, now time.Time, found *checks) {
	if len(gates) == 0 {
		found.bad("gates", warning, "look at the proxy's log, its cluster for the control plane, and its gate token", "no gate was granted a lease or has reported usage within a week")
		return
	}
	for _, g := range gates {
		age := now.Sub(g.Last)
		text := fmt.Sprintf("%d VMs within a week, the last lease or usage %s ago", g.VMs, age.Round(time.Second))
		if age > staleAfter {
			found.bad("gate "+g.Gate, warning, "if it should be in use, look at its proxy; if it is gone, revoke its token", "%s", text)
		} else {
			found.ok("gate "+g.Gate, "%s", text)
		}
	}
}

func (c *doctorCommand) examineBooks(ctx context.Context, found *checks) {
	if !c.Books {
		return
	}
	st, err := store.OpenReadOnly(ctx, store.Options{Path: c.DB})
	if err != nil {
		found.bad("books", failing, "", "%v", err)
		return
	}
	report, err := st.Verify(ctx)
	switch err := errors.Join(err, st.Close()); {
	case err != nil:
		found.bad("books", failing, "", "%v", err)
	case len(report.Problems) > 0:
		found.bad("books", failing, "stop serve, keep the file, and see tollgate verify for all problems", "%d problems, the first: %s", len(report.Problems), report.Problems[0])
	default:
		found.ok("books", "%d entries of %d accounts agree", report.Entries, report.Accounts)
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
