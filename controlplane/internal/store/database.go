package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// access is what a pool of connections may do.
type access string

const (
	reading access = "reading"
	writing access = "writing"
	// copying never changes the file, whatever a statement says: for files that are somebody else's.
	copying access = "read-only"
	// copied is for a file that this process has made and nobody else knows.
	copied access = "finishing"
)

// dsn builds the connection string: the one place that names pragmas, because one set by a statement would hold
// for a single connection of a pool. Path is absolute and may hold any byte but NUL.
func dsn(path string, a access) string {
	q := url.Values{}
	// The timeout comes first: the pragmas after it may have to wait for another process.
	pragmas := []string{"busy_timeout(5000)"}
	if a == writing {
		pragmas = append(pragmas, "journal_mode(WAL)")
		q.Set("_txlock", "immediate")
	}
	// An answer leaves after the commit, so the commit must survive a power cut: FULL, not NORMAL.
	pragmas = append(pragmas, "foreign_keys(1)", "recursive_triggers(1)", "synchronous(FULL)")
	if a == writing {
		// A page that many commits touch is folded into the file once for all of them, and rarely has to be read again:
		// in pages of 4 KiB, a log of 32 MiB and, in KiB, a cache of as much again.
		pragmas = append(pragmas, "wal_autocheckpoint(8192)", "cache_size(-65536)")
		// What a statement of many rows would need to undo itself alone stays in memory: 2 is MEMORY.
		pragmas = append(pragmas, "temp_store(2)")
	} else if a != copied {
		pragmas = append(pragmas, "query_only(1)", "cache_size(-16384)")
	}
	if a == copying {
		q.Set("mode", "ro")
	}
	q["_pragma"] = pragmas
	q.Set("_defensive", "1")
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// connect makes a pool; no connection is opened yet. The writing pool has one connection, a reading pool one
// per core: more readers than cores only add latency and starve the writer.
func connect(path string, a access) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(path, a))
	if err != nil {
		return nil, fmt.Errorf("open database for %s: %w", a, err)
	}
	n := 1
	if a != writing {
		n = runtime.GOMAXPROCS(0)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// The busy timeout does not cover two processes that turn a new file's log on at once: SQLite tells one of them
// at once that it is locked out, and it must try again.
const (
	openAttempts = 250
	openPause    = 20 * time.Millisecond
)

// openWriter opens the one writing connection to a database of the current schema.
func openWriter(ctx context.Context, path string) (db *sql.DB, err error) {
	for range openAttempts {
		if db, err = tryWriter(ctx, path); !isBusy(err) {
			return db, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(openPause):
		}
	}
	return nil, err
}

func tryWriter(ctx context.Context, path string) (*sql.DB, error) {
	db, err := connect(path, writing)
	if err != nil {
		return nil, err
	}
	if err = checkLibrary(ctx, db); err == nil {
		err = migrate(ctx, db)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// creating is held while a database file is created and closed again. Closing any descriptor of a file drops
// the locks that this process's SQLite connections hold on it, so none may be opened before the creator's is
// closed.
var creating sync.Mutex

// prepareFile makes sure that the file exists and returns its absolute path. A new file is readable by its owner
// alone, and so are the log files that SQLite will put beside it.
func prepareFile(path string) (string, error) {
	path, err := absolute(path)
	if err != nil {
		return "", err
	}
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("create database: %w", err)
	}
	return path, errors.Join(f.Close(), syncDir(filepath.Dir(path)))
}

// existingFile returns the absolute path of a file that is there, without opening it.
func existingFile(path string) (string, error) {
	path, err := absolute(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("open database for reading: %w", err)
	}
	return path, nil
}

func absolute(path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("database path: %w: expected a file name", ErrInvalid)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("database path: %w", err)
	}
	return path, nil
}

// syncDir makes a new file's name survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// minLibrary is the first SQLite release that cannot corrupt a database when a checkpoint resets the log while
// another connection commits.
var minLibrary = [3]int{3, 51, 3}

func checkLibrary(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return checkVersion(version)
}

func checkVersion(version string) error {
	var v [3]int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return fmt.Errorf("sqlite version %q: %w", version, err)
	}
	for i := range v {
		if v[i] != minLibrary[i] {
			if v[i] > minLibrary[i] {
				return nil
			}
			return fmt.Errorf("sqlite %s: expected %d.%d.%d or newer", version, minLibrary[0], minLibrary[1], minLibrary[2])
		}
	}
	return nil
}

// isDuplicate reports whether err is a violated UNIQUE or PRIMARY KEY.
func isDuplicate(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// isBusy reports whether err is a lock held elsewhere, whichever of its variants.
func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}
