package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tollgate/tollgate/controlplane/internal/cli"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

type backupCommand struct {
	databaseFlag
	Out string `placeholder:"FILE" help:"The backup to write. It must not exist."`

	URL       string `name:"url" placeholder:"URL" help:"In place of --out: have this server make a backup in its own folder of backups."`
	TokenFile string `name:"token-file" placeholder:"FILE" help:"With --url: a file with an owner's token; without it, TOLLGATE_TOKEN of the environment."`
	JSON      bool   `name:"json" help:"With --url: print what the server answers."`
}

// Help is shown by kong.
func (*backupCommand) Help() string {
	return `Copies the database as it is at one moment, beside a running server too, into one file that is readable by its
owner alone. The copy is verified, its books too, and on the disk before its size and contents are printed and the exit
code is 0. Nothing is ever overwritten. A copy that is not sound is kept as FILE.unsound, its problems are printed, and
the exit code is 1.

A backup holds digests of keys and tokens, no secrets. Restore it with "tollgate restore" and not with cp.

Example:

	tollgate backup --db /var/lib/tollgate/tollgate.db --out /backup/tollgate-$(date +%F).db
	tollgate backup --url https://tollgate.example`
}

// Validate is called by kong.
func (c *backupCommand) Validate() error {
	err := c.databaseFlag.Validate()
	if (c.Out == "") == (c.URL == "") {
		err = errors.Join(err, errors.New("--out: expected a file name, or --url in its place"))
	}
	if c.URL != "" {
		err = errors.Join(err, c.connection().Validate())
	} else if c.TokenFile != "" || c.JSON {
		err = errors.Join(err, errors.New("--token-file, --json: expected with --url"))
	}
	return err
}

func (c *backupCommand) connection() *cli.Connection {
	return cli.NewConnection(c.URL, c.TokenFile)
}

// Run is called by kong.
func (c *backupCommand) Run(s *cli.Streams) error {
	if c.URL != "" {
		return c.connection().CreateBackup(s, c.JSON)
	}
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	b, err := backUp(ctx, c.DB, c.Out)
	if b.Path == "" {
		return err
	}
	_, printed := s.Out.Write(describeBackup("backup", &b))
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
