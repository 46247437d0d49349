package store

import (
	"fmt"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// countUsage adds the rows of req's batch to those of the hour, unless the VM's batch of that number or a later one was
// counted before.
func (tx *writeTx) countUsage(req *api.SyncRequest) error {
	if req.Usage == nil {
		return nil
	}
	n, err := tx.CountBatch(tx.ctx, queries.CountBatchParams{
		Gate: req.Gate, Boot: req.Boot, Seq: req.Usage.Seq, UpdatedUs: tx.now,
	})
	if err != nil {
		return fmt.Errorf("count usage batch: %w", err)
	}
	if n == 0 {
		return nil
	}
	tx.tally.Batches++
	hour := tx.now - tx.now%time.Hour.Microseconds()
	for _, row := range req.Usage.Rows {
		err := tx.AddUsage(tx.ctx, queries.AddUsageParams{
			HourUs: hour, KeyID: row.Key, Route: row.Route, Conversation: row.Conversation, Requests: row.Requests,
			Credits: row.Credits, Refused: row.Refused,
		})
		if err != nil {
			return fmt.Errorf("count usage: %w", err)
		}
	}
	return nil
}
