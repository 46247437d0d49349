// Command tollgate is the control plane: "tollgate serve" answers admins and gates, "tollgate token create" makes
// the tokens with which they authenticate, "tollgate verify" recomputes the books, and "tollgate backup", "restore",
// "migrate" and "doctor" are for operators. It owns the command line, the process's life and the lock that keeps two
// servers off one database.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// The exit codes. Kong's own code for usage would be 80.
const (
	exitFailure = 1
	exitUsage   = 2
)

// commands is the command line.
type commands struct {
	Serve  serveCommand  `cmd:"" help:"Serve the admin API, the gates and the operators' pages."`
	Token  tokenCommand  `cmd:"" help:"Manage the tokens of admins and gates."`
	Verify verifyCommand `cmd:"" help:"Recompute the books of a database and tell whether they agree."`

	Backup  backupCommand  `cmd:"" help:"Copy a database, beside a running server too, and verify the copy."`
	Restore restoreCommand `cmd:"" help:"Put a backup in the place of a database."`
	Migrate migrateCommand `cmd:"" help:"Bring a database to this program's schema, after a backup."`
	Doctor  doctorCommand  `cmd:"" help:"Look at everything that has to be in order, and say what to do."`
}

const description = `Tollgate's control plane: API keys and prepaid credits for HTTP APIs.

Example:

	export TOLLGATE_DB=data/tollgate.db
	tollgate token create --role owner --name alice
	tollgate serve`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit code. Help ends the process by itself.
func run(args []string, stdout, stderr io.Writer) int {
	var c commands
	parser, err := kong.New(&c, kong.Name("tollgate"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.BindTo(stdout, (*io.Writer)(nil)))
	if err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\n", err)
		return exitFailure
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\nRun \"tollgate --help\" for usage.\n", err)
		return exitUsage
	}
	if err := ctx.Run(); err != nil {
		fmt.Fprintf(stderr, "tollgate: %v\n", err)
		return exitFailure
	}
	return 0
}
