package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// revealed is the secret as JSON has it: null if there is none. Its callers are the outputs for which somebody has just
// asked to have one made.
func revealed(secret client.Secret) *string {
	if secret == "" {
		return nil
	}
	text := secret.Reveal()
	return &text
}

// errSecretLost means that a secret was made, and that the answer with it has not come.
var errSecretLost = errors.New("the answer with the secret was lost on its way")

// made is what a command has asked to have a secret made for.
type made struct {
	// body is the answer as JSON has it.
	body   any
	secret client.Secret
	meta   client.Meta
	// again is how another secret is made if this one is lost.
	again string
}

// showMade prints v, and the secret on standard output alone. An answer that repeats an earlier one has no secret: that is
// an error, unless the command was repeated by somebody who said so with an idempotency key.
func showMade[T any](s *Streams, f format, r *repeatable, columns []column[T], v T, m made) error {
	if m.secret != "" {
		_, _ = fmt.Fprintln(s.Err, "tollgate: the secret is shown this once and kept nowhere: keep it now")
		columns = append(columns[:len(columns):len(columns)], column[T]{name: "secret", text: func(T) string { return m.secret.Reveal() }})
	}
	var err error
	if f.JSON {
		err = printJSON(s, m.body)
	} else {
		err = show(s, f, columns, v)
	}
	switch {
	case err != nil || !m.meta.Replayed:
		return err
	case r.IdempotencyKey == "":
		return fmt.Errorf("%w; make another one: %s", errSecretLost, m.again)
	}
	_, _ = fmt.Fprintf(s.Err, "tollgate: an earlier request under this idempotency key did it; a secret is not shown again. If it is lost: %s\n", m.again)
	return nil
}

func showKey(s *Streams, f format, r *repeatable, k client.KeyWithSecret, m client.Meta) error {
	body := struct {
		client.Key
		Secret *string `json:"secret"`
	}{k.Key, revealed(k.Secret)}
	return showMade(s, f, r, keyColumns, k.Key, made{body, k.Secret, m, "tollgate key rotate " + k.ID})
}

type keyCreate struct {
	asking
	repeatable
	Account     string            `xor:"owner" required:"" placeholder:"ID" help:"The owner of a secret key."`
	Project     string            `xor:"owner" required:"" placeholder:"ID" help:"The owner of a key pair."`
	Scheme      string            `required:"" placeholder:"NAME" help:"A configured scheme, such as genrex or vexrail; its type says who owns the key."`
	Name        string            `required:"" placeholder:"NAME" help:"What it is for."`
	Environment string            `default:"production" enum:"production,staging" placeholder:"ENV" help:"production or staging (${default})."`
	Expires     When              `placeholder:"WHEN" help:"When it ends: a time such as 2026-12-31T00:00:00Z, or from now on, such as 90d or 12h. Without it, never."`
	Metadata    map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"A note, one for each flag."`
	Route       []route           `sep:"none" placeholder:"ROUTE" help:"The only requests it may be used for, one for each flag: a path such as /v1/chat, a prefix such as '/v1/*', or either after methods such as 'GET,POST /v1/*'."`
	AllowIP     []string          `name:"allow-ip" placeholder:"NETWORK" help:"The only networks or addresses it may be used from, such as 192.0.2.0/24."`
}

// Help is shown by kong.
func (*keyCreate) Help() string {
	return "The secret is printed on standard output, in the table's last line or as \"secret\" of the JSON, and can never be shown again."
}

// Run is called by kong.
func (c *keyCreate) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		var m client.Meta
		k, err := cl.CreateKey(ctx, client.NewKey{
			AccountID: c.Account, ProjectID: c.Project, Scheme: c.Scheme, Name: c.Name, Environment: c.Environment,
			ExpiresAt: c.Expires.At(time.Now()), Metadata: c.Metadata, Routes: routesOf(c.Route), AllowedIPs: c.AllowIP,
		}, c.options(&m)...)
		if err != nil {
			return err
		}
		return showKey(s, c.format, &c.repeatable, k, m)
	})
}

type keyRotate struct {
	asking
	keyID
	repeatable
	conditional
	Overlap time.Duration `default:"0s" placeholder:"TIME" help:"How long the old one works beside the new one, such as 24h, up to 720h (${default}: it ends at once)."`
	Halves  string        `default:"secret" enum:"secret,publishable,both" placeholder:"WHICH" help:"What of a pair is renewed: secret, publishable or both (${default})."`
}

// Validate is called by kong.
func (c *keyRotate) Validate() error {
	if c.Overlap < 0 || c.Overlap%time.Second != 0 {
		return fmt.Errorf("--overlap: expected whole seconds, 0s or more")
	}
	return c.Connection.Validate()
}

// Help is shown by kong.
func (*keyRotate) Help() string {
	return "The new secret is printed on standard output and can never be shown again. With --overlap, clients change to it without a failed request."
}

// Run is called by kong.
func (c *keyRotate) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		var m client.Meta
		k, err := cl.RotateKey(ctx, c.ID, client.Rotation{OverlapSeconds: int64(c.Overlap / time.Second), Halves: c.Halves}, append(c.options(&m), c.conditions()...)...)
		if err != nil {
			return err
		}
		return showKey(s, c.format, &c.repeatable, k, m)
	})
}

type keyReplace struct {
	asking
	keyID
	repeatable
	conditional
}

// Help is shown by kong.
func (*keyReplace) Help() string {
	return "The old key stops at once. The new secret is printed on standard output and can never be shown again."
}

// Run is called by kong.
func (c *keyReplace) Run(s *Streams) error {
	return c.ask(func(ctx context.Context, cl *client.Client) error {
		var m client.Meta
		k, err := cl.ReplaceKey(ctx, c.ID, append(c.options(&m), c.conditions()...)...)
		if err != nil {
			return err
		}
		body := struct {
			client.Key
			Secret   *string `json:"secret"`
			Replaces string  `json:"replaces"`
		}{k.Key, revealed(k.Secret), k.Replaces}
		return showMade(s, c.format, &c.repeatable, keyColumns, k.Key, made{body, k.Secret, m, "tollgate key rotate " + k.ID})
	})
}
