// Command tollgate is the control plane: "tollgate serve" answers admins and gates, "tollgate token create" makes
// the tokens with which they authenticate, "tollgate verify" recomputes the books, and "tollgate backup", "restore",
// "migrate" and "doctor" are for operators. The rest asks a running server, see package cli. It owns the command line,
// the process's life and the lock that keeps two servers off one database.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/tollgate/tollgate/controlplane/internal/cli"
)

// exitUsage is the exit code of a wrong command line, for which kong would have 80. Package cli has the others.
const exitUsage = 2

// commands is the command line.
type commands struct {
	Serve  serveCommand  `cmd:"" help:"Serve the admin API, the gates and the operators' pages."`
	Token  tokenCommand  `cmd:"" help:"Manage the tokens of admins and gates." example:"tollgate token create --role owner --name alice"`
	Verify verifyCommand `cmd:"" help:"Recompute the books of a database and tell whether they agree."`

	Backup  backupCommand  `cmd:"" help:"Copy a database, beside a running server too, and verify the copy."`
	Restore restoreCommand `cmd:"" help:"Put a backup in the place of a database."`
	Migrate migrateCommand `cmd:"" help:"Bring a database to this program's schema, after a backup."`
	Doctor  doctorCommand  `cmd:"" help:"Look at everything that has to be in order, and say what to do."`

	cli.Commands
	Completion cli.Completion `cmd:"" help:"Print a script that completes commands and flags in a shell." example:"source <(tollgate completion bash)"`
}

const description = `Tollgate's control plane: API keys and prepaid credits for HTTP APIs.

serve, verify, backup, restore, migrate and doctor work on a database, and so does the token create that makes the first
token. The others ask a running server, --url, as whoever has the token in TOLLGATE_TOKEN or --token-file. They print
tables for people, with ids in full and times in UTC, and with --json what the server answers.

` + cli.ExitCodes + `

Example:

	export TOLLGATE_DB=data/tollgate.db
	export TOLLGATE_TOKEN=$(tollgate token create --role owner --name alice)
	tollgate serve &
	tollgate account create --name Acme --status active`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. Help ends the process by itself.
func run(args []string, stdout, stderr io.Writer) int {
	parser, err := newParser(stdout, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\n", err)
		return cli.ExitFailed
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\nRun \"tollgate --help\" for usage.\n", err)
		return exitUsage
	}
	err = ctx.Run()
	if err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\n", err)
	}
	return cli.ExitCode(err)
}

// newParser makes the command line of one run.
func newParser(stdout, stderr io.Writer) (*kong.Kong, error) {
	terminal, _ := stderr.(*os.File)
	streams := &cli.Streams{Out: stdout, Err: stderr, Bar: func() cli.Bar { return shownBar{newBar(terminal)} }}
	return kong.New(new(commands), kong.Name("tollgate"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.PostBuild(cli.Examples), kong.Bind(streams),
		kong.BindTo(stdout, (*io.Writer)(nil)))
}
