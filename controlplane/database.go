package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// databaseFlag is the flag that every command takes.
type databaseFlag struct {
	DB string `name:"db" env:"TOLLGATE_DB" default:"data/tollgate.db" placeholder:"FILE" help:"The database file (${default}). The commands that write make it, and its directory, if need be."`
}

// Validate is called by kong.
func (d *databaseFlag) Validate() error {
	if d.DB == "" {
		return errors.New("--db: expected a file name")
	}
	return nil
}

// prepare makes the database's directory, for the owner alone, and refuses what is no regular file.
func (d *databaseFlag) prepare() error {
	if err := os.MkdirAll(filepath.Dir(d.DB), 0o700); err != nil {
		return fmt.Errorf("make the database's directory: %w", err)
	}
	if err := d.check(); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// check refuses what is no regular file, and what is nothing at all with os.ErrNotExist.
func (d *databaseFlag) check() error {
	info, err := os.Stat(d.DB)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open database: %s: expected a file, found a %s", d.DB, kind(info.Mode()))
	}
	return nil
}

func kind(m os.FileMode) string {
	if m.IsDir() {
		return "directory"
	}
	return "special file"
}

// open opens the database with opts, whose path it sets.
func (d *databaseFlag) open(ctx context.Context, opts store.Options) (*store.Store, error) {
	opts.Path = d.DB
	st, err := store.Open(ctx, opts)
	if errors.Is(err, store.ErrSchemaTooOld) {
		err = fmt.Errorf("%w; see tollgate migrate --help", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", d.DB, err)
	}
	return st, nil
}
