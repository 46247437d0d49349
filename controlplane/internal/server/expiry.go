package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// timePattern is RFC 3339 without the freedoms that two readers of it take differently: capital letters, two
// digits each, an offset that is a time of day.
const timePattern = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`

// timeForm tells people what timePattern takes.
const timeForm = "expected a time such as 2026-01-02T15:04:05Z (RFC 3339)"

// instant is a time in a request.
type instant struct{ time.Time }

// Schema is called by huma.
func (instant) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Pattern: timePattern, PatternDescription: "a time (RFC 3339)"}
}

// clearableInstant is a time in a request, or null to clear it. Its zero value is neither: the field was absent.
type clearableInstant struct {
	present bool
	at      *time.Time
}

// Schema is called by huma. A parsed null is a jsonNull, which no nullable schema would take.
func (clearableInstant) Schema(r huma.Registry) *huma.Schema {
	at := instant{}.Schema(r)
	at.PatternDescription = ""
	return &huma.Schema{AnyOf: []*huma.Schema{at, {Enum: []any{jsonNull{}}}}}
}

// UnmarshalJSON is called by encoding/json, for null too.
func (c *clearableInstant) UnmarshalJSON(text []byte) error {
	c.present = true
	return json.Unmarshal(text, &c.at)
}

// maxExpiry is the first moment that JSON cannot write in four digits of a year.
var maxExpiry = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// expiry returns the time at which a key is to end as JSON can write it, in UTC. That it lies in the future is for
// the store to say, which knows a request that is repeated after that time.
func expiry(at time.Time) (*time.Time, error) {
	at = at.UTC()
	if !at.Before(maxExpiry) || at.Year() < 0 {
		return nil, badExpiry()
	}
	return &at, nil
}

const futureForm = "expected a time in the future, before the year 10000"

func badExpiry() *Problem {
	return badField(http.StatusUnprocessableEntity, codeInvalidRequest, "body.expires_at", futureForm)
}
