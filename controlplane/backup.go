package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type backupCommand struct {
	databaseFlag
	Out string `required:"" placeholder:"FILE" help:"The backup to write. It must not exist."`
}

// Help is shown by kong.
func (*backupCommand) Help() string {
	return `Copies the database as it is at one moment, beside a running server too, into one file that is readable by its
owner alone. The copy is verified, its books too, and on the disk before its size and contents are printed and the exit
code is 0. Nothing is ever overwritten. A copy that is not sound is kept as FILE.unsound, its problems are printed, and
the exit code is 1.

A backup holds digests of keys and tokens, no secrets. Restore it with "tollgate restore" and not with cp.

Example:

	tollgate backup --db /var/lib/tollgate/tollgate.db --out /backup/tollgate-$(date +%F).db`
}

// Validate is called by kong.
func (c *backupCommand) Validate() error {
	err := c.databaseFlag.Validate()
	if c.Out == "" {
		err = errors.Join(err, errors.New("--out: expected a file name"))
	}
	return err
}

// Run is called by kong.
func (c *backupCommand) Run(stdout io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	b, err := backUp(ctx, c.DB, c.Out)
	if b.Path == "" {
		return err
	}
	_, printed := stdout.Write(describeBackup("backup", &b))
	return errors.Join(err, printed)
}

// interruptible ends with a signal, so that what was begun is removed.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// backUp shows on standard error how far it is.
func backUp(ctx context.Context, from, to string) (store.Backup, error) {
	progress := newBar(os.Stderr)
	defer progress.end()
	return store.BackUp(ctx, from, to, progress.show)
}

func describeBackup(what string, b *store.Backup) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s: %s\nbytes: %d\nschema: %d\n", what, b.Path, b.Bytes, b.Schema)
	if !b.Verified() && len(b.Report.Problems) == 0 {
		fmt.Fprintln(&out, "ok: the file is whole; its books were not looked into, for its schema is older than this program's")
		return out.Bytes()
	}
	out.Write(summary(b.Report))
	return out.Bytes()
}
