package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// errUnwell means that a check has failed.
var errUnwell = errors.New("not everything is in order")

type doctorCommand struct {
	databaseFlag
	schemesFlag
	Listen     string `env:"TOLLGATE_LISTEN" default:"127.0.0.1:8090" placeholder:"ADDR" help:"As of serve (${default})."`
	GateListen string `env:"TOLLGATE_GATE_LISTEN" default:"127.0.0.1:8092" placeholder:"ADDR" help:"As of serve (${default})."`
	OpsListen  string `env:"TOLLGATE_OPS_LISTEN" default:"127.0.0.1:8091" placeholder:"ADDR" help:"As of serve; a running one is asked here (${default})."`
	BackupDir  string `env:"TOLLGATE_BACKUP_DIR" placeholder:"DIR" help:"As of serve: the newest backup there is looked at."`
	Server     string `env:"TOLLGATE_DOCTOR_SERVER" placeholder:"URL" help:"Ask the admin listener of a server elsewhere instead of looking at files here; the environment has an owner's, operator's or viewer's token as TOLLGATE_TOKEN."`
	Token      string `env:"TOLLGATE_TOKEN" hidden:""`
	Books      bool   `help:"Recompute the books too, as tollgate verify does. It takes a while."`
	JSON       bool   `name:"json" help:"Print a JSON array of checks instead of a table."`

	// began is when the looking began.
	began time.Time
}

// Help is shown by kong.
func (*doctorCommand) Help() string {
	return `Looks at the configuration, the clock, the disk, the database, a running server and the gates that were heard of,
beside that server or without one, changes nothing, and says of each check whether it is ok, what was found, and what to
do about it. Configure it as serve is: by the same flags or environment.

The exit code is 0 if no check has failed, warnings or not, 1 if one has, and 2 for a wrong command line.

Examples:

	tollgate doctor --db /var/lib/tollgate/tollgate.db
	TOLLGATE_TOKEN=… tollgate doctor --server https://tollgate.example --json`
}

// Validate is called by kong. What serve would refuse in the other flags is found by the checks.
func (c *doctorCommand) Validate() error { return c.databaseFlag.Validate() }

// verdict is what a check comes to.
type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warn"
	failing verdict = "fail"
)

// check is one line of a diagnosis.
type check struct {
	Name   string  `json:"check"`
	Status verdict `json:"status"`
	// Found is what was seen, and Do what to do about it; it is empty if nothing needs to be done.
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
}

// checks collects them.
type checks []check

func (l *checks) ok(name, format string, args ...any) {
	*l = append(*l, check{Name: name, Status: fine, Found: fmt.Sprintf(format, args...)})
}

func (l *checks) bad(name string, v verdict, do, format string, args ...any) {
	*l = append(*l, check{Name: name, Status: v, Found: fmt.Sprintf(format, args...), Do: do})
}

// Run is called by kong.
func (c *doctorCommand) Run(stdout io.Writer) error {
	c.began = time.Now()
	ctx, stop := interruptible()
	defer stop()
	found := c.examine(ctx)
	if err := c.print(stdout, found); err != nil {
		return fmt.Errorf("print checks: %w", err)
	}
	for _, ch := range found {
		if ch.Status == failing {
			return errUnwell
		}
	}
	return nil
}

func (c *doctorCommand) examine(ctx context.Context) (found checks) {
	if c.Server != "" {
		c.examineServer(ctx, &found)
		return found
	}
	c.examineConfig(&found)
	if c.examineDisk(&found) {
		c.examineDatabase(ctx, &found)
	}
	return found
}

func (c *doctorCommand) print(stdout io.Writer, found checks) error {
	if c.JSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(found)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, ch := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\n", strings.ToUpper(string(ch.Status)), ch.Name, ch.Found)
		if ch.Do != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", ch.Do)
		}
	}
	return w.Flush()
}
