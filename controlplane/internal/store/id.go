package store

import (
	"encoding/base32"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// The prefixes of ids.
const (
	prefixAccount     = "acct_"
	prefixProject     = "proj_"
	prefixKey         = "key_"
	prefixEntry       = "entry_"
	prefixTransaction = "txn_"
	prefixToken       = "token_"
	prefixLease       = "lease_"
	prefixAct         = "act_"
	prefixImport      = "import_"
)

// idEncoding sorts as the bytes it encodes do, which base32's standard alphabet does not: lists are paged by id.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// idSteps is how many ids a millisecond has room for: twelve bits of a UUIDv7 count on within it.
const idSteps = 1 << 12

// ids makes ids that ascend whatever the clock does. The writer alone makes them, so that they ascend in the order of
// commits; after a restart they go on where the database left off.
type ids struct {
	now func() time.Time
	// last is the time of the newest id, in steps, and until what the database promises that no id is beyond: the next
	// process begins there.
	last, until int64
}

// make returns prefix and a UUIDv7.
func (g *ids) make(prefix string) (string, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	now := g.now()
	g.last = max(g.last+1, now.UnixMilli()*idSteps+int64(now.Nanosecond())%1e6>>8)
	ms := g.last / idSteps
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6], id[7] = 0x70|byte(g.last%idSteps>>8), byte(g.last)
	return prefix + idEncoding.EncodeToString(id[:]), nil
}

// idsAhead is for how long the database promises at a time, in steps: so often it is written to, and by so much a restart
// may bring ids ahead of the clock.
const idsAhead = 1_000 * idSteps

// keepIDs makes sure that whoever opens the database next makes no id before those of this transaction. It returns what
// is promised once that is committed.
func (tx *writeTx) keepIDs(g *ids) (until int64, err error) {
	if g.last <= g.until {
		return g.until, nil
	}
	until = g.last + idsAhead
	if err := tx.SetMeta(tx.ctx, queries.SetMetaParams{Name: metaIDs, Value: until}); err != nil {
		return 0, fmt.Errorf("keep newest id: %w", err)
	}
	return until, nil
}
