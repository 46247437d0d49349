package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type migrateCommand struct {
	databaseFlag
	NoBackup bool `help:"Do not keep a copy of the database as it was. There is no way back then."`
}

// Help is shown by kong.
func (*migrateCommand) Help() string {
	return `Brings the database to the schema of this program, and prints what it did. A database that "tollgate serve" has
open is refused. As it was before, the database is first kept beside it, as FILE.before-NNNN.bak where NNNN is the first
migration that it lacks; "tollgate restore" of an older program takes it back. "tollgate serve" does the same when it
starts, unless it is told --no-migrate.

Example:

	tollgate migrate --db /var/lib/tollgate/tollgate.db`
}

// Run is called by kong.
func (c *migrateCommand) Run(stdout io.Writer) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	lock, err := lockDatabase(c.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	ctx, stop := interruptible()
	defer stop()
	done, err := c.migrate(ctx, !c.NoBackup)
	if err != nil {
		return err
	}
	var out []byte
	if done.backup.Path != "" {
		out = fmt.Appendf(out, "backup: %s\n", done.backup.Path)
	}
	for _, name := range done.before.Pending {
		out = fmt.Appendf(out, "migrated: %s\n", name)
	}
	out = fmt.Appendf(out, "schema: %d\n", done.before.Newest)
	if _, err := stdout.Write(out); err != nil {
		return fmt.Errorf("print what was migrated: %w", err)
	}
	return nil
}

// migrated is what a migration did.
type migrated struct {
	before store.SchemaState
	backup store.Backup
}

// migrate brings the database to this program's schema. Unless nothing is in it, and if backup is set, it is copied
// before. The caller holds the lock.
func (d *databaseFlag) migrate(ctx context.Context, backup bool) (done migrated, err error) {
	done.before, err = store.Schema(ctx, d.DB)
	if err != nil {
		return done, fmt.Errorf("open database %s: %w", d.DB, err)
	}
	if len(done.before.Pending) == 0 {
		return done, nil
	}
	if backup && done.before.Version > 0 {
		if done.backup, err = d.backUpBefore(ctx, done.before.Pending[0]); err != nil {
			return done, fmt.Errorf("%w; nothing was migrated", err)
		}
	}
	if err := store.Migrate(ctx, d.DB); err != nil {
		return done, fmt.Errorf("migrate database %s: %w", d.DB, err)
	}
	return done, nil
}

// maxBackupsBefore bounds how many migrations of the same database are tried before their backups are to be looked at.
const maxBackupsBefore = 100

// backUpBefore copies the database under the first name that is not taken: an attempt that failed has left one.
func (d *databaseFlag) backUpBefore(ctx context.Context, migration string) (store.Backup, error) {
	real, err := resolve(d.DB)
	if err != nil {
		return store.Backup{}, fmt.Errorf("back up database: %w", err)
	}
	for i := range maxBackupsBefore {
		name := fmt.Sprintf("%s.before-%.4s.bak", real, migration)
		if i > 0 {
			name = fmt.Sprintf("%s.before-%.4s-%d.bak", real, migration, i+1)
		}
		b, err := backUp(ctx, d.DB, name)
		if !errors.Is(err, store.ErrExists) {
			return b, err
		}
	}
	return store.Backup{}, fmt.Errorf("back up database: %w: %s.before-%.4s*.bak", store.ErrExists, real, migration)
}
