-- +goose Up

-- The operation whose debit, or whose lease's forfeited credits, a refund gives back: what the gate gives back later of the
-- same credits is less by that. NULL for every other refund.
ALTER TABLE credits ADD COLUMN refunded_op TEXT CHECK (refunded_op IS NULL OR refunded_entry IS NOT NULL);

CREATE INDEX credits_by_refunded_op ON credits (refunded_op) WHERE refunded_op IS NOT NULL;

UPDATE credits SET refunded_op = (SELECT e.op_id FROM entries e WHERE e.id = credits.refunded_entry)
WHERE refunded_entry IN (SELECT e.id FROM entries e WHERE e.id = credits.refunded_entry AND (e.kind = 'debit' OR e.kind = 'forfeit'));
