package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

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
	p, err := migrator(db)
	if err != nil {
		return err
	}
	sources := p.ListSources()
	current, target := int64(0), sources[len(sources)-1].Version
	var versioned bool
	err = db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'goose_db_version'").Scan(&versioned)
	if err == nil && versioned {
		err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version").Scan(&current)
	}
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
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
