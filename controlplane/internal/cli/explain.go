package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/client"
)

// Explain is the verb explain.
type Explain struct {
	asking
	Key        string   `xor:"what" required:"" placeholder:"ID" help:"The key, asked about as with its newest secret."`
	Digest     []string `xor:"what" required:"" placeholder:"HEX" help:"SHA-256 of what was presented, in hex; of a pair twice, of the publishable half first."`
	SecretFile string   `xor:"what" required:"" name:"secret-file" placeholder:"FILE" help:"A file with what was presented, of a pair on two lines, the publishable half first. Only its digests are sent."`
	Scheme     string   `placeholder:"NAME" help:"The route's scheme, such as genrex; not with --key."`
	Cost       int64    `placeholder:"N" help:"The route's cost; at 0, as it is without this, no balance is asked for."`
	Method     string   `placeholder:"METHOD" help:"The request's; with --path and --ip it matters where the key is restricted."`
	Path       string   `placeholder:"PATH" help:"The request's, decoded and without its query."`
	IP         string   `name:"ip" placeholder:"ADDRESS" help:"The client's address, as the proxy sees it."`
}

// Help is shown by kong.
func (*Explain) Help() string {
	return "Nothing is charged and nothing changes. The exit code is 0 whether the gate would let the request pass or not."
}

// Validate is called by kong.
func (c *Explain) Validate() error {
	if (c.Key == "") != (c.Scheme != "") {
		return errors.New("--scheme: expected with --digest or --secret-file, and not with --key")
	}
	return c.Connection.Validate()
}

var explanationColumns = []column[client.Explanation]{
	{name: "decision", text: func(e client.Explanation) string { return cell(e.Decision) }},
	{name: "verdict", text: func(e client.Explanation) string { return cell(e.Verdict) }},
	{name: "answer", text: func(e client.Explanation) string {
		if e.Answer == nil {
			return cell(nil)
		}
		return plain(fmt.Sprintf("%d %s: %s", e.Answer.Status, e.Answer.Code, e.Answer.Message))
	}},
	{name: "scheme", text: func(e client.Explanation) string { return cell(e.Scheme) }},
	{name: "key", text: func(e client.Explanation) string { return cell(e.KeyID) }},
	{name: "project", text: func(e client.Explanation) string { return cell(e.ProjectID) }},
	{name: "account", text: func(e client.Explanation) string { return cell(e.AccountID) }},
	{name: "available", text: func(e client.Explanation) string { return cell(e.Available) }},
	{name: "reserved", text: func(e client.Explanation) string { return cell(e.Reserved) }},
}

var stepColumns = []column[client.Step]{
	{name: "check", text: func(s client.Step) string { return cell(s.Check) }},
	{name: "outcome", text: func(s client.Step) string { return cell(s.Outcome) }},
	{name: "detail", text: func(s client.Step) string { return cell(s.Detail) }},
}

// Run is called by kong.
func (c *Explain) Run(s *Streams) error {
	q := client.Question{KeyID: c.Key, Scheme: c.Scheme, Digests: c.Digest, Cost: c.Cost, Method: c.Method, Path: c.Path, IP: c.IP}
	if c.SecretFile != "" {
		var err error
		if q.Digests, err = digestsIn(c.SecretFile); err != nil {
			return fmt.Errorf("--secret-file: %w", err)
		}
	}
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		e, err := cl.Explain(ctx, q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s, e)
		}
		if err := show(s, c.format, explanationColumns, e); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(s.Out)
		p := printer[client.Step]{out: s.Out, columns: stepColumns}
		for _, step := range e.Steps {
			if err := p.row(step); err != nil {
				return err
			}
		}
		return p.end()
	})
}

// digestsIn are those of the lines of a file.
func digestsIn(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var digests []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			digests = append(digests, apikey.DigestOf(text).Hex())
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(digests) < 1 || len(digests) > 2 {
		return nil, errors.New("expected a key, or the two halves of a pair on a line each")
	}
	return digests, nil
}
