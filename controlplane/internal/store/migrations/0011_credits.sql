-- +goose Up

-- A closed account is a disabled one that nothing opens again: whoever knows only the status treats it as disabled.
-- closed_reason and closed_actor say why and by whom it was closed.
ALTER TABLE accounts ADD COLUMN closed_us INTEGER CHECK (closed_us IS NULL OR status = 'disabled');
ALTER TABLE accounts ADD COLUMN closed_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN closed_actor TEXT NOT NULL DEFAULT '';

-- The transactions that people made, beside their entries: what was asked for, negative for an adjustment downwards, and
-- under which idempotency key, empty for none. refunded_entry is the entry of which a refund gives credits back, NULL if it
-- names none.
CREATE TABLE credits (
    transaction_id  TEXT    NOT NULL PRIMARY KEY,
    account_id      TEXT    NOT NULL REFERENCES accounts (id),
    kind            TEXT    NOT NULL CHECK (kind = 'top_up' OR kind = 'adjustment' OR kind = 'refund'),
    amount          INTEGER NOT NULL CHECK (amount <> 0 AND amount BETWEEN -9007199254740991 AND 9007199254740991),
    idempotency_key TEXT    NOT NULL,
    refunded_entry  TEXT,
    CHECK (amount > 0 OR kind = 'adjustment'),
    CHECK (refunded_entry IS NULL OR kind = 'refund')
) STRICT, WITHOUT ROWID;

CREATE INDEX credits_by_refunded_entry ON credits (refunded_entry) WHERE refunded_entry IS NOT NULL;
CREATE INDEX credits_refunded ON credits (account_id) WHERE kind = 'refund';

INSERT INTO credits (transaction_id, account_id, kind, amount, idempotency_key, refunded_entry)
SELECT e.transaction_id, e.account_id, e.kind, e.delta, coalesce(i.idem_key, ''), NULL
FROM entries e
         LEFT JOIN idempotency i ON i.kind = 'top_up' AND i.result_id = e.id
WHERE e.kind = 'top_up' AND e.bucket = 'available';

DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
ALTER TABLE entries RENAME TO entries_0004;

-- seq is the order of the books, whatever the clock did. previous is the seq of the account's entry before; 0 for its
-- first. The rows of one transaction share transaction_id and sum to zero, but for written_off: it is a memo of credits
-- used that nobody paid for, and in no sum. balance is the bucket's after the row. key_id and op_id are empty unless a gate
-- caused the transaction, lease_id unless a lease did; its op_id is then that of the lease. reason and actor are empty
-- unless an admin caused the transaction.
CREATE TABLE entries (
    seq            INTEGER NOT NULL PRIMARY KEY,
    previous       INTEGER NOT NULL CHECK (previous >= 0 AND previous < seq),
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    id             TEXT    NOT NULL UNIQUE,
    transaction_id TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind = 'debit' OR kind = 'use' OR kind = 'reserve' OR kind = 'release' OR kind = 'top_up' OR kind = 'void' OR kind = 'unpaid' OR kind = 'forfeit' OR kind = 'late_use' OR kind = 'late_write_off' OR kind = 'late_refund' OR kind = 'adjustment' OR kind = 'refund'),
    bucket         TEXT    NOT NULL CHECK (bucket = 'available' OR bucket = 'reserved' OR bucket = 'spent' OR bucket = 'funding' OR bucket = 'written_off'),
    delta          INTEGER NOT NULL CHECK (delta <> 0 AND delta BETWEEN -9007199254740991 AND 9007199254740991),
    balance        INTEGER NOT NULL CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    key_id         TEXT    NOT NULL,
    op_id          TEXT    NOT NULL,
    lease_id       TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    created_us     INTEGER NOT NULL,
    CHECK ((kind = 'unpaid' OR kind = 'late_write_off') = (bucket = 'written_off')),
    CHECK ((kind = 'debit' OR kind = 'top_up' OR kind = 'void' OR kind = 'unpaid' OR kind = 'adjustment' OR kind = 'refund') = (lease_id = ''))
) STRICT;

INSERT INTO entries (seq, previous, account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, lease_id,
                     reason, actor, created_us)
SELECT seq, previous, account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, lease_id, reason, actor,
       created_us
FROM entries_0004 ORDER BY seq;

DROP TABLE entries_0004;

-- INSERT OR REPLACE fires delete triggers only where recursive_triggers is on, as it is on the store's connections.

-- +goose StatementBegin
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE(ABORT, 'entries are immutable');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'entries are immutable');
END;
-- +goose StatementEnd
