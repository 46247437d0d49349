package store

import (
	"encoding/base32"
	"fmt"

	"github.com/google/uuid"
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
)

// idEncoding sorts as the bytes it encodes do, which base32's standard alphabet does not: lists are paged by id.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID returns prefix and a UUIDv7. The ids that one process makes under one prefix ascend; the writer alone
// makes them, so that they ascend in the order of commits.
func newID(prefix string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	return prefix + idEncoding.EncodeToString(id[:]), nil
}
