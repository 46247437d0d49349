package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Diagnosis is what an operator wants to know of a database without serving it.
type Diagnosis struct {
	// Library is SQLite's version.
	Library string
	Bytes   int64
	// LogBytes is how long the write-ahead log is.
	LogBytes int64
	Mode     fs.FileMode
	Schema   SchemaState
	// Damage is what a quick look at every page has found.
	Damage []string
	// The rest is known of a database of this program's schema alone.

	Epoch int64
	// Learning: the data was restored from a backup, and no process has served long enough since.
	Learning bool
	// NewestID is a time that no id is beyond by more than a second.
	NewestID time.Time
	// Tokens are those in force, by role.
	Tokens map[Role]int
	Lost   Lost
	// Gates are those whose leases or usage are known still, by name.
	Gates []GateSeen
}

// Lost is what was used of leases that a restored database does not know, ledger.MaxCredits at most.
type Lost struct{ Leases, Credits int64 }

// GateSeen is a gate that leases were granted to or usage was counted of within the last week.
type GateSeen struct {
	Gate string
	// VMs are its boots.
	VMs  int64
	Last time.Time
}

// Diagnose looks at the database at path, beside whoever serves from it. It changes nothing and needs no particular
// schema.
func Diagnose(ctx context.Context, path string, now time.Time) (d Diagnosis, err error) {
	if path, err = existingFile(path); err != nil {
		return d, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return d, fmt.Errorf("diagnose database: %w", err)
	}
	d.Bytes, d.Mode = info.Size(), info.Mode()
	if d.LogBytes, err = logBytes(path); err != nil {
		return d, fmt.Errorf("diagnose database: %w", err)
	}
	db, err := connect(path, copying)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := d.file(ctx, db); err != nil {
		return d, fmt.Errorf("diagnose database: %w", err)
	}
	if d.Schema, err = Schema(ctx, path); err != nil || len(d.Schema.Pending) > 0 || len(d.Damage) > 0 {
		return d, err
	}
	if err := d.contents(ctx, db, now); err != nil {
		return d, fmt.Errorf("diagnose database: %w", err)
	}
	return d, nil
}

// logBytes is the size of the write-ahead log of the database at path, 0 if it has none.
func logBytes(path string) (int64, error) {
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (d *Diagnosis) file(ctx context.Context, db *sql.DB) error {
	err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&d.Library)
	if err == nil {
		err = checkVersion(d.Library)
	}
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, "SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok' LIMIT 5")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		d.Damage = append(d.Damage, text)
	}
	return rows.Err()
}

func (d *Diagnosis) contents(ctx context.Context, db *sql.DB, now time.Time) error {
	q := queries.New(db)
	var ids, learning int64
	for name, value := range map[string]*int64{metaEpoch: &d.Epoch, metaIDs: &ids, metaLearning: &learning} {
		var err error
		if *value, err = q.Meta(ctx, name); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	d.NewestID, d.Learning = time.UnixMilli((ids-idsAhead)/idSteps).UTC(), learning > 0
	// What gates say may add up to more than an integer holds.
	var lost float64
	err := db.QueryRowContext(ctx, "SELECT count(*), coalesce(sum(CAST(used AS REAL)), 0.0) FROM lost_leases").Scan(&d.Lost.Leases, &lost)
	if err != nil {
		return fmt.Errorf("read lost leases: %w", err)
	}
	d.Lost.Credits = saturated(lost)
	if err := d.tokens(ctx, q, now); err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	if d.Gates, err = gatesSeen(ctx, q); err != nil {
		return fmt.Errorf("read gates: %w", err)
	}
	return nil
}

func (d *Diagnosis) tokens(ctx context.Context, q *queries.Queries, now time.Time) error {
	rows, err := q.CountTokens(ctx, sql.NullInt64{Int64: now.UnixMicro(), Valid: true})
	if err != nil {
		return err
	}
	d.Tokens = map[Role]int{}
	for _, row := range rows {
		d.Tokens[Role(row.Role)] = int(row.Tokens)
	}
	return nil
}

func gatesSeen(ctx context.Context, q *queries.Queries) (seen []GateSeen, err error) {
	rows, err := q.GatesSeen(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		seen = append(seen, GateSeen{Gate: row.Gate, VMs: row.Vms, Last: fromMicros(row.LastUs)})
	}
	return seen, nil
}

// Health is what only the process that has a database open knows of it.
type Health struct {
	Epoch, Schema int64
	Library       string
	// Learning is as Store.Learning returns it.
	Learning time.Duration
	// Unwritable is ErrDiskFull or ErrDead; nil if changes are accepted.
	Unwritable      error
	Bytes, LogBytes int64
}

// Health tells how the store is. The error is the database's, which does not answer.
func (s *Store) Health(ctx context.Context) (h Health, err error) {
	h = Health{Epoch: s.epoch, Learning: s.Learning(), Unwritable: s.Writable()}
	if h.Schema, err = schemaVersion(ctx, s.readers); err == nil {
		err = s.readers.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&h.Library)
	}
	if err != nil {
		return Health{}, s.readError("database", err)
	}
	if info, err := os.Stat(s.path); err == nil {
		h.Bytes = info.Size()
	}
	h.LogBytes, _ = logBytes(s.path)
	return h, nil
}

// Epoch says which life of the data this is.
func (s *Store) Epoch() int64 { return s.epoch }

// Writable returns nil if changes are accepted, or else ErrDiskFull, ErrDead, ErrClosed or ErrReadOnly.
func (s *Store) Writable() error {
	if s.writer == nil {
		return ErrReadOnly
	}
	w := s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return ErrClosed
	case w.failed != nil:
		return ErrDead
	case w.full:
		return ErrDiskFull
	}
	return nil
}
