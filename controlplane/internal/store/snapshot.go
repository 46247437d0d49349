package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
)

// Progress tells how far a long work has come: the step it is at, and how much of it is done. It may be nil.
type Progress func(step string, done, total int64)

func (p Progress) report(step string, done, total int64) {
	if p != nil {
		p(step, done, total)
	}
}

// snapshotPages is how many pages are copied before anybody looks whether to go on: 8 MiB.
const snapshotPages = 2048

// snapshot writes to the file at to, which is there and empty, what the database at from holds at one moment, beside
// whoever uses it. Writers are not kept waiting, but until it is done their log cannot be folded into the file.
//
// # Why not VACUUM INTO?
//
// It takes as long and tells nobody how far it has come. In return it leaves out the pages that are free, of which there
// are few: of what grows large nothing is deleted.
func snapshot(ctx context.Context, from, to string, progress Progress) (err error) {
	db, err := connect(from, copying)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := checkLibrary(ctx, db); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// With a transaction of its own, SQLite goes on copying the same state however often others commit meanwhile.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	var tables int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	return conn.Raw(func(c any) error { return copyPages(ctx, c, to, progress) })
}

func copyPages(ctx context.Context, c any, to string, progress Progress) error {
	source, ok := c.(interface {
		NewBackup(dst string) (*sqlite.Backup, error)
	})
	if !ok {
		return fmt.Errorf("copy database: the driver's %T makes no backups", c)
	}
	b, err := source.NewBackup((&url.URL{Scheme: "file", Path: to}).String())
	if err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	for more := true; more && err == nil; {
		if err = ctx.Err(); err == nil {
			more, err = b.Step(snapshotPages)
			progress.report("copy", int64(b.PageCount()-b.Remaining()), int64(b.PageCount()))
		}
	}
	if err = errors.Join(err, b.Finish()); err != nil {
		return fmt.Errorf("copy database: %w", err)
	}
	return nil
}

// detach makes of a database that nobody uses one file that needs no other beside it and can be read where nothing can
// be written. The next process that opens it for writing turns its log on again.
func detach(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = DELETE").Scan(&mode); err != nil {
		return fmt.Errorf("fold log into database: %w", err)
	}
	if mode != "delete" {
		return fmt.Errorf("fold log into database: it stays in mode %s", mode)
	}
	return nil
}

// syncFile makes a file's content survive a power cut.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
