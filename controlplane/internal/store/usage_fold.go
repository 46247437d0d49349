package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// maxFolded bounds what one call of FoldUsage takes: it holds up the writer, and so many sums of 2^53-1 fit an int64.
const maxFolded = 1000

// FoldUsage sums the oldest hours of usage by the day and without conversation, up to maxFolded rows of days (UTC) that ended
// longer than keep ago, and returns whether there may be more. No sum of whole days changes, whoever adds up meanwhile.
func (s *Store) FoldUsage(ctx context.Context, keep time.Duration) (more bool, err error) {
	return write(ctx, s, func(tx *writeTx) (bool, error) {
		before := tx.now - keep.Microseconds()
		before -= before % dayMicros
		err := tx.Queries.FoldUsage(tx.ctx, queries.FoldUsageParams{BeforeUs: before, MaxRows: maxFolded})
		if err != nil {
			return false, fmt.Errorf("fold usage: %w", err)
		}
		n, err := tx.DeleteFolded(tx.ctx, queries.DeleteFoldedParams{BeforeUs: before, MaxRows: maxFolded})
		if err != nil {
			return false, fmt.Errorf("fold usage: %w", err)
		}
		return n == maxFolded, nil
	})
}
