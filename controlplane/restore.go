package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type restoreCommand struct {
	databaseFlag
	From    string `required:"" placeholder:"FILE" help:"The backup, which is not changed."`
	Replace bool   `help:"Replace a database that is there, and keep it beside the new one with .replaced-TIME added to its name."`
}

// Help is shown by kong.
func (*restoreCommand) Help() string {
	return `Puts a backup in the place of the database. The copy is brought to this program's schema and verified before
anything is replaced; a damaged file, one whose books do not agree or one that a newer program has migrated leaves
everything as it was. A database that "tollgate serve" has open is refused.

The restored data begins an epoch: gates let go of every lease from before once they hear of it. Until those that do not
hear of it are over, after the first serve, leases hold the credits of one request only. What happened after the backup
was made is in its books no more: the README says how much can be used twice.

Example:

	tollgate restore --from /backup/tollgate-2026-11-27.db --db /var/lib/tollgate/tollgate.db --replace`
}

// Validate is called by kong.
func (c *restoreCommand) Validate() error {
	err := c.databaseFlag.Validate()
	if c.From == "" {
		err = errors.Join(err, errors.New("--from: expected a file name"))
	}
	return err
}

// Run is called by kong.
func (c *restoreCommand) Run(stdout io.Writer) (err error) {
	if err := (&databaseFlag{DB: c.From}).check(); err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	lock, err := lockDatabase(c.DB)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	to, err := resolve(c.DB)
	if err != nil {
		return fmt.Errorf("restore database: %w", err)
	}
	ctx, stop := interruptible()
	defer stop()
	progress := newBar(os.Stderr)
	done, err := store.Restore{From: c.From, To: to, Replace: c.Replace, Progress: progress.show}.Run(ctx)
	progress.end()
	if errors.Is(err, store.ErrExists) && !c.Replace {
		err = fmt.Errorf("%w; --replace keeps it aside", err)
	}
	if err != nil {
		return err
	}
	out := describeBackup("restored", &done.Backup)
	out = fmt.Appendf(out, "epoch: %d\n", done.Epoch)
	if done.Aside != "" {
		out = fmt.Appendf(out, "replaced: %s\n", done.Aside)
	}
	if _, err := stdout.Write(out); err != nil {
		return fmt.Errorf("print what was restored: %w", err)
	}
	return nil
}
