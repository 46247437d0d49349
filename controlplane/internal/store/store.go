// Package store keeps Tollgate's durable state in one SQLite file: accounts, wallets and their entries, projects,
// keys, tokens, the audit log, and what was answered to repeatable calls. It is the only package that speaks SQL. It
// refuses to keep a secret or anything a gate could send in place of one, to change or delete an entry or an act, to make
// an admin's change in nobody's name, and to answer a mutation before it is durable.
//
// # Why one writer?
//
// SQLite has one writer at a time, and a durable commit costs an fsync whatever it holds. So every mutation, an
// admin's too, is a job for one writer that runs all waiting jobs in one transaction and answers them after its
// commit. Readers have a pool of connections that cannot write.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate

// Errors of this package; test for them with errors.Is.
var (
	// ErrNotFound means that no row has the id or digest asked for.
	ErrNotFound = errors.New("not found")
	// ErrConflict means that the row exists already.
	ErrConflict = errors.New("already exists")
	// ErrReadOnly is returned by every change to a store that was opened for reading alone.
	ErrReadOnly = errors.New("store is open for reading only")
	// ErrClosed is returned by every method once Close was called.
	ErrClosed = errors.New("store is closed")
)

// Options say how to open a Store.
type Options struct {
	// Path is the database file. Its directory must exist; the file is created, readable by its owner alone.
	Path string
	// Now is the clock of every recorded time; nil means time.Now.
	Now func() time.Time
	// Steady is the clock by which leases are closed: it moves on by as much as time does, whatever happens to Now, which
	// it follows at the start. Nil means Now where that is given, and otherwise the system's monotonic clock.
	Steady func() time.Time
	Leases LeaseOptions
	// Actor makes the changes whose context names nobody; without one they are refused with ErrNoActor. A command that works
	// on the database itself has LocalActor here; a server has none.
	Actor Actor
	// KeepSchema: a database that has yet to be migrated is ErrSchemaTooOld, but for one in which nothing is yet.
	KeepSchema bool
	// Log is told of broken invariants; nil means slog.Default().
	Log *slog.Logger
}

func (o Options) withDefaults() (_ Options, err error) {
	switch start := time.Now(); {
	case o.Steady != nil:
	case o.Now != nil:
		o.Steady = o.Now
	default:
		o.Steady = func() time.Time { return start.Add(time.Since(start)) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Leases, err = o.Leases.withDefaults()
	return o, err
}

// Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	// readers answer people: what they ask for may take as long as it takes.
	readers *sql.DB
	queries *queries.Queries
	// quick is a pool of its own for what gates wait for, and who asks: single rows, found by their keys. However many long
	// reads are waiting for readers, none of these waits for them.
	quick *sql.DB
	// reads are prepared on quick but stmtEntriesOf, which is on readers; brief are the queries on quick.
	reads *statements
	brief *queries.Queries
	// writer is nil in a store that was opened for reading alone.
	writer *writer
	now    func() time.Time
	steady func() time.Time
	terms  LeaseOptions
	known  keyCache
	uses   keyUses
	// epoch is the database's, which no running process changes.
	epoch   int64
	closing sync.Once
	closed  atomic.Bool
	path    string
	// copying is held while a backup is made.
	copying sync.Mutex
	err     error
}

// Open opens or creates the database at opts.Path and brings its schema up to date. It returns ErrSchemaTooNew
// for a database that a newer Tollgate has migrated, and changes nothing in it. Several processes may open one
// database; only one should serve from it.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	path, err := prepareFile(opts.Path)
	if err != nil {
		return nil, err
	}
	if opts.KeepSchema {
		if err := keepSchema(ctx, path); err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
	}
	writes, err := openWriter(ctx, path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, writer: newWriter(writes, opts), now: opts.Now, steady: opts.Steady, terms: opts.Leases}
	if err = s.connectReads(path, reading); err == nil {
		err = s.prepareReads(ctx)
	}
	if err == nil {
		s.writer.ids.until, err = s.queries.Meta(ctx, metaIDs)
		s.writer.ids.last, s.writer.epoch = s.writer.ids.until, s.epoch
	}
	if err == nil && opts.Actor != LocalActor {
		err = s.writer.learn(ctx, queries.New(writes))
	}
	if err == nil {
		s.writer.stmts, err = prepare(ctx, writes, allStatements()...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.disconnect())
	}
	go s.writer.loop()
	return s, nil
}

// OpenReadOnly opens the existing database at opts.Path for its readers, beside a process that serves from it or on
// a copy. It changes no data: where Open would create or migrate it returns an error, ErrSchemaTooOld if another
// Open would help and ErrSchemaTooNew if only a newer Tollgate would. SQLite keeps its log and the log's index in
// files beside the database, so the directory must be writable unless another process has it open, and an empty
// log may be left there.
func OpenReadOnly(ctx context.Context, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	path, err := existingFile(opts.Path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, now: opts.Now, steady: opts.Steady, terms: opts.Leases}
	if err = s.connectReads(path, copying); err == nil {
		err = checkLibrary(ctx, s.readers)
	}
	if err == nil {
		err = checkSchema(ctx, s.readers)
	}
	if err == nil {
		err = s.prepareReads(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database for reading: %w", err), s.disconnect())
	}
	return s, nil
}

func (s *Store) connectReads(path string, a access) (err error) {
	if s.readers, err = connect(path, a); err == nil {
		s.quick, err = connect(path, a)
	}
	return err
}

func (s *Store) prepareReads(ctx context.Context) (err error) {
	s.queries, s.brief = queries.New(s.readers), queries.New(s.quick)
	if s.epoch, err = s.queries.Meta(ctx, metaEpoch); err != nil {
		return fmt.Errorf("read epoch: %w", err)
	}
	if s.reads, err = prepare(ctx, s.quick, stmtOperation, stmtSecret, stmtPair, stmtCursor, stmtDraining); err != nil {
		return err
	}
	s.reads[stmtEntriesOf], err = s.readers.PrepareContext(ctx, statementSQL[stmtEntriesOf])
	return err
}

// Close answers the mutations that were accepted, then closes the database. Later calls return ErrClosed;
// closing again returns what the first Close did.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		if s.writer != nil {
			s.noteLast()
			s.writer.stop()
		}
		s.err = s.disconnect()
	})
	return s.err
}

// disconnect closes the readers first: the last connection to close folds the write-ahead log into the file,
// which a reader could not.
func (s *Store) disconnect() error {
	var err error
	for _, pool := range []*sql.DB{s.readers, s.quick} {
		if pool != nil {
			err = errors.Join(err, pool.Close())
		}
	}
	if s.writer != nil {
		err = errors.Join(err, s.writer.db.Close())
	}
	return err
}

// readError says what was being read and turns an absent row and a closed database into this package's errors.
func (s *Store) readError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		return fmt.Errorf("read %s: %w", what, ErrClosed)
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
