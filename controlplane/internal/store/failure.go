package store

import (
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of the disk; test for them with errors.Is.
var (
	// ErrDiskFull means that there is no room for a change. Nothing of it happened, and reads go on; whether there is
	// room again is tried now and then.
	ErrDiskFull = errors.New("disk is full")
	// ErrDead means that the disk failed while something was written, so that nobody knows what of it is there. Nothing
	// is written any more; opening the database again finds out.
	ErrDead = errors.New("the disk failed; the database has to be opened again")
)

// probeEvery is how long a full disk is left alone before the next change is tried on it.
const probeEvery = time.Second

// Dead is closed when the store has failed with ErrDead. Of a store that was opened for reading alone it is nil.
func (s *Store) Dead() <-chan struct{} {
	if s.writer == nil {
		return nil
	}
	return s.writer.dead
}

// judge takes the end of a batch: what it means for the next ones, and what its jobs are told.
func (w *writer) judge(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil && w.full:
		w.full = false
		w.log.Warn("there is room on the disk again: changes are accepted")
	case err == nil:
	case resultCode(err) == sqlite3.SQLITE_FULL:
		if !w.full {
			w.log.Error("the disk is full: changes are refused until there is room", "error", err)
		}
		w.full, w.retry = true, w.steady().Add(probeEvery)
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case isFatal(err):
		w.failed = fmt.Errorf("%w: %w", ErrDead, err)
		w.log.Error("THE DISK FAILED: nothing is written or acknowledged any more", "error", err)
		close(w.dead)
		return w.failed
	}
	return err
}

// refusal is why no batch is tried any more, nil if one may be.
func (w *writer) refusal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// resultCode is SQLite's own primary result code of err, SQLITE_OK if it has none.
func resultCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// isFatal reports whether err leaves open what is on the disk: a read, a write or an fsync failed, or what was read is no
// database.
func isFatal(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// isFailure reports whether err is SQLite's and more than a violated constraint, so that it may have ended the
// transaction.
func isFailure(err error) bool {
	code := resultCode(err)
	return code != sqlite3.SQLITE_OK && code != sqlite3.SQLITE_CONSTRAINT
}
