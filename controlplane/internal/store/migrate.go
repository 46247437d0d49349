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

// ErrSchemaTooNew means that a newer Tollgate has migrated the database.
var ErrSchemaTooNew = errors.New("database schema is newer than this program")

// migrate brings db's schema to the newest version this program knows.
func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
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
		return fmt.Errorf("%w: it has version %d, this program knows %d", ErrSchemaTooNew, current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate database from version %d to %d: %w", current, target, err)
	}
	return nil
}
