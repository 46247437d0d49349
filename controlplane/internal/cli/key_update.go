package cli

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

type keyUpdate struct {
	asking
	keyID
	conditional
	Name          string            `placeholder:"NAME" help:"Another name."`
	Status        string            `enum:",active,inactive" default:"" placeholder:"STATUS" help:"active or inactive."`
	Environment   string            `enum:",production,staging" default:"" placeholder:"ENV" help:"production or staging."`
	Expires       When              `placeholder:"WHEN" xor:"expires" help:"When it ends: a time such as 2026-12-31T00:00:00Z, or from now on, such as 90d or 12h."`
	NeverExpires  bool              `xor:"expires" help:"It does not end any more."`
	Metadata      map[string]string `mapsep:"none" xor:"metadata" placeholder:"NAME=VALUE" help:"Its notes anew, one for each flag: none of the old ones stay."`
	ClearMetadata bool              `xor:"metadata" help:"It has no notes any more."`
	Route         []route           `sep:"none" xor:"route" placeholder:"ROUTE" help:"The only requests it may be used for, one for each flag: a path such as /v1/chat, a prefix such as '/v1/*', or either after methods such as 'GET,POST /v1/*'."`
	AnyRoute      bool              `xor:"route" help:"It may be used for all requests again."`
	AllowIP       []string          `name:"allow-ip" xor:"ip" placeholder:"NETWORK" help:"The only networks or addresses it may be used from, such as 192.0.2.0/24."`
	AnyIP         bool              `name:"any-ip" xor:"ip" help:"It may be used from everywhere again."`
}

// Validate is called by kong.
func (c *keyUpdate) Validate() error {
	if u := c.update(time.Now()); u == (client.KeyUpdate{}) {
		return errors.New("expected at least one thing to change")
	}
	return c.Connection.Validate()
}

func (c *keyUpdate) update(now time.Time) client.KeyUpdate {
	u := client.KeyUpdate{Name: orNil(c.Name), Status: orNil(c.Status), Environment: orNil(c.Environment)}
	if at := c.Expires.At(now); at != nil {
		u.ExpiresAt = &client.Expiry{At: *at}
	}
	if c.NeverExpires {
		u.ExpiresAt = &client.Expiry{}
	}
	if c.Metadata != nil || c.ClearMetadata {
		u.Metadata = &map[string]string{}
		if c.Metadata != nil {
			u.Metadata = &c.Metadata
		}
	}
	if c.Route != nil || c.AnyRoute {
		routes := append([]client.Route{}, routesOf(c.Route)...)
		u.Routes = &routes
	}
	if c.AllowIP != nil || c.AnyIP {
		ips := append([]string{}, c.AllowIP...)
		u.AllowedIPs = &ips
	}
	return u
}

// Run is called by kong.
func (c *keyUpdate) Run(s *Streams) error {
	return one(s, &c.asking, keyColumns, func(ctx context.Context, cl *client.Client) (client.Key, error) {
		return cl.UpdateKey(ctx, c.ID, c.update(time.Now()), c.conditions()...)
	})
}
