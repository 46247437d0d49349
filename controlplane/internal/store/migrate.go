package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Errors about the schema; test for them with errors.Is.
var (
	// ErrSchemaTooNew means that a newer Tollgate has migrated the database.
	ErrSchemaTooNew = errors.New("database schema is newer than this program")
	// ErrSchemaTooOld means that the database has yet to be migrated, or is none of Tollgate's.
	ErrSchemaTooOld = errors.New("database schema is older than this program")
)

// migrator knows the migrations of this program. It must not be closed, for that would close db.
func migrator(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// migrate brings db's schema to the newest version this program knows.
func migrate(ctx context.Context, db *sql.DB) error {
	p, err := migrator(db)
	if err != nil {
		return err
	}
	// Another process may be migrating the same database. The loser of a race fails on what the winner has
	// made and tries again from there: once for each migration and for the table of versions.
	for range len(p.ListSources()) + 2 {
		if err = upgrade(ctx, p); err == nil || errors.Is(err, ErrSchemaTooNew) {
			return err
		}
	}
	return err
}

func upgrade(ctx context.Context, p *goose.Provider) error {
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return schemaError(ErrSchemaTooNew, current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate database from version %d to %d: %w", current, target, err)
	}
	return nil
}

// checkSchema changes nothing: asking goose for the version of a database would write one into it.
func checkSchema(ctx context.Context, db *sql.DB) error {
	current, err := schemaVersion(ctx, db)
	target := newestSchema()
	switch {
	case err != nil:
		return err
	case current > target:
		return schemaError(ErrSchemaTooNew, current, target)
	case current < target:
		return schemaError(ErrSchemaTooOld, current, target)
	}
	return nil
}

func schemaError(err error, current, target int64) error {
	return fmt.Errorf("%w: it has version %d, this program knows %d", err, current, target)
}

// schemaVersion is that of db, 0 if it is not one of Tollgate's.
func schemaVersion(ctx context.Context, db *sql.DB) (version int64, err error) {
	var versioned bool
	err = db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'goose_db_version'").Scan(&versioned)
	if err == nil && versioned {
		err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return version, nil
}

// newestSchema is the version that this program migrates to.
var newestSchema = sync.OnceValue(func() int64 {
	names := migrationNames()
	return names[len(names)-1].version
})

// migrationName is one of this program's migrations.
type migrationName struct {
	version int64
	name    string
}

// migrationNames lists this program's migrations, the oldest first. It panics on a name that goose would not read
// either.
func migrationNames() []migrationName {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		panic(err)
	}
	all := make([]migrationName, len(files))
	for i, f := range files {
		if all[i].version, err = goose.NumericComponent(f.Name()); err != nil {
			panic(err)
		}
		all[i].name = f.Name()
	}
	return all
}

// SchemaState is how a database stands to this program's migrations.
type SchemaState struct {
	// Version is the database's, 0 if nothing is in it yet, and Newest this program's.
	Version, Newest int64
	// Pending are the names of the migrations that the database lacks, the oldest first.
	Pending []string
}

// Schema looks at the database at path and changes nothing. One that is not there, or empty, has version 0; what is not
// Tollgate's is ErrInvalid, and what a newer Tollgate has migrated ErrSchemaTooNew.
func Schema(ctx context.Context, path string) (state SchemaState, err error) {
	state.Newest = newestSchema()
	path, err = existingFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		state.Pending = pendingAfter(0)
		return state, nil
	}
	if err != nil {
		return state, err
	}
	db, err := connect(path, copying)
	if err != nil {
		return state, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if state.Version, err = schemaVersion(ctx, db); err != nil {
		return state, err
	}
	var tables int
	if state.Version == 0 {
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'").Scan(&tables); err != nil {
			return state, fmt.Errorf("read schema: %w", err)
		}
	}
	switch {
	case tables > 0:
		return state, fmt.Errorf("%s: %w: it is no database of Tollgate's", path, ErrInvalid)
	case state.Version > state.Newest:
		return state, schemaError(ErrSchemaTooNew, state.Version, state.Newest)
	}
	state.Pending = pendingAfter(state.Version)
	return state, nil
}

func pendingAfter(version int64) (names []string) {
	for _, m := range migrationNames() {
		if m.version > version {
			names = append(names, m.name)
		}
	}
	return names
}

// Migrate brings the database at path to this program's schema; it is made if need be. Nobody else may use it meanwhile.
func Migrate(ctx context.Context, path string) error {
	path, err := prepareFile(path)
	if err != nil {
		return err
	}
	db, err := openWriter(ctx, path)
	if err != nil {
		return err
	}
	return db.Close()
}

// settleTime is how long a database that is being made may stay at one version.
const settleTime = time.Second

// keepSchema returns ErrSchemaTooOld if the database has yet to be migrated, unless nothing is in it, or another process
// is just making it.
func keepSchema(ctx context.Context, path string) error {
	last := int64(-1)
	for {
		state, err := Schema(ctx, path)
		switch {
		case err != nil:
			return err
		case state.Version == 0 || len(state.Pending) == 0:
			return nil
		case state.Version == last:
			return schemaError(ErrSchemaTooOld, state.Version, state.Newest)
		}
		last = state.Version
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleTime):
		}
	}
}
