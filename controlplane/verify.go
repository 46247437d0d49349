package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// errProblems means that the books of a database do not agree.
var errProblems = errors.New("the books do not agree")

type verifyCommand struct {
	databaseFlag
}

// Help is shown by kong.
func (*verifyCommand) Help() string {
	return `Recomputes every balance, transaction and operation from the ledger's entries, independently of the running
balances, and prints what it counted, then "ok" or one line for each problem. It reads and changes nothing, works
beside a running server and on a copy, and neither creates nor migrates a database. The exit code is 0 if all
agrees and 1 if not, or if the database cannot be read.

Example:

	tollgate verify --db /var/lib/tollgate/tollgate.db`
}

// Run is called by kong.
func (c *verifyCommand) Run(stdout io.Writer) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	ctx := context.Background()
	st, err := store.OpenReadOnly(ctx, store.Options{Path: c.DB})
	if errors.Is(err, store.ErrSchemaTooOld) {
		err = fmt.Errorf("%w; see tollgate migrate --help", err)
	}
	if err != nil {
		return fmt.Errorf("open database %s: %w", c.DB, err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	report, err := st.Verify(ctx)
	if err != nil {
		return fmt.Errorf("verify database %s: %w", c.DB, err)
	}
	if _, err := stdout.Write(summary(report)); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if len(report.Problems) > 0 {
		return fmt.Errorf("verify database %s: %w", c.DB, errProblems)
	}
	return nil
}

func summary(r store.Report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "accounts: %d\ntransactions: %d\nentries: %d\noperations: %d\n", r.Accounts, r.Transactions, r.Entries, r.Operations)
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "problem: %s\n", p)
	}
	switch {
	case r.Truncated:
		fmt.Fprintln(&b, "problem: there are more")
	case len(r.Problems) == 0:
		fmt.Fprintln(&b, "ok")
	}
	return b.Bytes()
}
