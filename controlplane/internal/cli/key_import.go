package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/client"
)

type keyImport struct {
	asking
	File        string `required:"" placeholder:"FILE" help:"A file with one JSON object per line, or CSV with a header."`
	Account     string `placeholder:"ID" help:"The owner of keys that name none."`
	Project     string `placeholder:"ID" help:"The owner of pairs that name none."`
	Scheme      string `placeholder:"NAME" help:"The scheme of keys that name none."`
	Environment string `enum:",production,staging" default:"" placeholder:"ENV" help:"The environment of keys that name none."`
}

// Help is shown by kong.
func (*keyImport) Help() string {
	return `The fields of an object, and the columns of CSV, are secret, or digest (SHA-256 in hex) with last4; publishable_key of a
pair; account_id or project_id; scheme; name; environment; expires_at; external_ref; routes and allowed_ips; and metadata,
in CSV a column metadata.NAME for each name. In CSV, routes and allowed_ips are separated by semicolons, and a route is
written as for --route of key create.

The whole file is read before anything is sent, and nothing is if a line cannot be read. Then 1,000 keys go at a time, all
of them or none; a batch that the server refuses is left out and the others are imported. Every bad line is named on standard
error, without what is in it. Keys that are there already are left as they are: to go on after an interruption or a
correction, repeat the command. The exit code is 0 once all keys are there.

With --json the output is an array with the line, id, result (created or existing) and external_ref of each key.`
}

// Validate is called by kong.
func (c *keyImport) Validate() error {
	if c.Account != "" && c.Project != "" {
		return errors.New("--account: expected without --project")
	}
	return c.Connection.Validate()
}

// maxBatchBytes is how much of a body the keys of a batch may take up.
const maxBatchBytes = client.MaxImportBytes * 3 / 4

// errBadLines means that not every key of the file is there now.
var errBadLines = errors.New("not everything was imported: correct these lines and repeat the command")

// Run is called by kong.
func (c *keyImport) Run(s *Streams) error {
	total, err := c.check(s)
	if err != nil {
		return err
	}
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		run := &importRun{
			streams: s, client: cl, total: total, bar: s.newBar(),
			ids: printer[importedLine]{out: s.Out, json: true},
		}
		defer run.bar.End()
		if !c.JSON {
			run.ids.out = nil
		}
		for row, err := range keysIn(c.File) {
			if err != nil {
				return fmt.Errorf("%s: it has changed while it was imported: %w", c.File, err)
			}
			if err := run.add(ctx, c.complete(row)); err != nil {
				return err
			}
		}
		if err := run.flush(ctx); err != nil {
			return err
		}
		return run.finish()
	})
}

// complete fills in what the flags say for keys that do not.
func (c *keyImport) complete(row fileRow) fileRow {
	k := &row.key
	if k.AccountID == "" && k.ProjectID == "" {
		k.AccountID, k.ProjectID = c.Account, c.Project
	}
	if k.Scheme == "" {
		k.Scheme = c.Scheme
	}
	if k.Environment == "" {
		k.Environment = c.Environment
	}
	return row
}

// check reads the whole file, names every line that cannot be read, and returns how many keys there are.
func (c *keyImport) check(s *Streams) (total int64, err error) {
	bad := 0
	for row, err := range keysIn(c.File) {
		total++
		if err == nil {
			err = c.complete(row).missing()
		}
		if wrong, ok := errors.AsType[*lineError](err); ok {
			bad++
			_, _ = fmt.Fprintf(s.Err, "%s: %v\n", c.File, wrong)
		} else if err != nil {
			return 0, fmt.Errorf("--file: %w", err)
		}
	}
	if bad > 0 {
		return 0, fmt.Errorf("%w (%d of %d; nothing was sent)", errBadLines, bad, total)
	}
	if total == 0 {
		return 0, errors.New("--file: expected keys, found none")
	}
	return total, nil
}

// missing finds what no key may lack.
func (row fileRow) missing() error {
	k := row.key
	for _, f := range []struct {
		name, want string
		ok         bool
	}{
		{"secret", "expected exactly one of secret and digest", (k.Secret == "") != (k.Digest == "")},
		{"account_id", "expected exactly one of account_id and project_id", (k.AccountID == "") != (k.ProjectID == "")},
		{"scheme", "expected a scheme, got none", k.Scheme != ""},
		{"name", "expected a name, got none", k.Name != ""},
	} {
		if !f.ok {
			return &lineError{row.line, f.name, f.want}
		}
	}
	return nil
}

// importedLine is what became of a line.
type importedLine struct {
	Line        int    `json:"line"`
	ID          string `json:"id"`
	Result      string `json:"result"`
	ExternalRef string `json:"external_ref,omitempty"`
}

// importRun is an import on its way.
type importRun struct {
	streams *Streams
	client  *client.Client
	bar     Bar
	ids     printer[importedLine]

	batch []fileRow
	bytes int

	total, done                        int64
	created, existing, refused, faulty int
}

// add puts a row into the batch, which it sends first if that is full.
func (r *importRun) add(ctx context.Context, row fileRow) error {
	text, err := json.Marshal(row.key)
	if err != nil {
		return fmt.Errorf("line %d: %w", row.line, err)
	}
	size := len(text) + len(row.key.Secret)
	if len(r.batch) == client.MaxImport || r.bytes+size > maxBatchBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.batch = append(r.batch, row)
	r.bytes += size
	return nil
}

// flush sends the batch.
func (r *importRun) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	var in client.Import
	for _, row := range r.batch {
		in.Keys = append(in.Keys, row.key)
	}
	key, err := contentKey(in)
	if err != nil {
		return err
	}
	var m client.Meta
	out, err := r.client.ImportKeys(ctx, in, client.IdempotencyKey(key), client.Into(&m))
	p, refused := errors.AsType[*client.Problem](err)
	switch {
	case refused && len(faultsOf(p)) > 0:
		r.refuse(p)
	case err != nil:
		r.bar.End()
		return fmt.Errorf("stopped at line %d, %d keys are there; repeat the command to go on: %w", r.batch[0].line, r.created+r.existing, err)
	default:
		if err := r.accept(out, m.Replayed); err != nil {
			return err
		}
	}
	r.done += int64(len(r.batch))
	r.batch, r.bytes = r.batch[:0], 0
	r.bar.Show("import", r.done, r.total)
	return nil
}

// contentKey is an idempotency key made of what is imported: the same batch again is the same request. Secrets are in it as
// their digests.
func contentKey(in client.Import) (string, error) {
	hidden := client.Import{Keys: append([]client.ImportedKey{}, in.Keys...)}
	for i := range hidden.Keys {
		if k := &hidden.Keys[i]; k.Secret != "" {
			k.Digest, k.Secret = "of "+apikey.DigestOf(k.Secret.Reveal()).Hex(), ""
		}
	}
	text, err := json.Marshal(hidden)
	sum := sha256.Sum256(text)
	return "import-" + hex.EncodeToString(sum[:]), err
}

// accept counts what was imported. What an earlier run has imported is there already, whatever was said then.
func (r *importRun) accept(out client.Imported, replayed bool) error {
	if len(out.Keys) != len(r.batch) {
		return fmt.Errorf("%w: %d results for %d keys", client.ErrAnswer, len(out.Keys), len(r.batch))
	}
	if replayed {
		out.Created, out.Existing = 0, len(out.Keys)
		for i := range out.Keys {
			out.Keys[i].Result = "existing"
		}
	}
	r.created += out.Created
	r.existing += out.Existing
	if r.ids.out == nil {
		return nil
	}
	for i, k := range out.Keys {
		row := r.batch[i]
		if err := r.ids.row(importedLine{Line: row.line, ID: k.ID, Result: k.Result, ExternalRef: row.key.ExternalRef}); err != nil {
			return err
		}
	}
	return nil
}

// fault is something wrong with a key of a batch, by its place there.
type fault struct {
	index       int
	field, want string
}

var faultLocation = regexp.MustCompile(`^body\.keys\[(\d{1,4})\]\.?(.*)$`)

// faultsOf are those that a refusal names.
func faultsOf(p *client.Problem) []fault {
	var faults []fault
	for _, e := range p.Errors {
		if m := faultLocation.FindStringSubmatch(e.Location); m != nil {
			// The pattern leaves no number that is none.
			index, _ := strconv.Atoi(m[1])
			faults = append(faults, fault{index, m[2], e.Message})
		}
	}
	return faults
}

// refuse names the lines for which a batch was refused.
func (r *importRun) refuse(p *client.Problem) {
	r.bar.End()
	lines := map[int]bool{}
	for _, f := range faultsOf(p) {
		if f.index < len(r.batch) {
			line := r.batch[f.index].line
			lines[line] = true
			_, _ = fmt.Fprintln(r.streams.Err, (&lineError{line, f.field, f.want}).Error())
		}
	}
	r.refused += len(r.batch)
	r.faulty += len(lines)
}

// finish prints what has become of the file.
func (r *importRun) finish() error {
	r.bar.End()
	if r.ids.out != nil {
		if err := r.ids.end(); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(r.streams.Out, "created   %d\nexisting  %d\nrefused   %d\n", r.created, r.existing, r.refused); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if r.refused > 0 {
		return fmt.Errorf("%w (%d, for which batches of %d keys were refused)", errBadLines, r.faulty, r.refused)
	}
	return nil
}
