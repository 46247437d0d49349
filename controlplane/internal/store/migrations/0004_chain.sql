-- +goose Up

-- Entries were stored by account: a debit changed a page of its own among them. Here they are stored in the order in
-- which they are made, so that a batch fills a few pages one after another. Nor is there an index by account, which would
-- have a page per account again: an account's entries are a chain, from its newest one, which its wallet names in a row
-- that changes with every entry in any case, to its first.

-- last_entry is the seq of the account's newest entry; 0 if it has none.
ALTER TABLE wallets ADD COLUMN last_entry INTEGER NOT NULL DEFAULT 0 CHECK (last_entry >= 0);

DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
ALTER TABLE entries RENAME TO entries_0003;

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
    kind           TEXT    NOT NULL CHECK (kind = 'debit' OR kind = 'use' OR kind = 'reserve' OR kind = 'release' OR kind = 'top_up' OR kind = 'void' OR kind = 'unpaid' OR kind = 'forfeit' OR kind = 'late_use' OR kind = 'late_write_off' OR kind = 'late_refund'),
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
    CHECK ((kind = 'debit' OR kind = 'top_up' OR kind = 'void' OR kind = 'unpaid') = (lease_id = ''))
) STRICT;

INSERT INTO entries (seq, previous, account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, lease_id,
                     reason, actor, created_us)
SELECT seq, lag(seq, 1, 0) OVER (PARTITION BY account_id ORDER BY seq), account_id, id, transaction_id, kind, bucket, delta,
       balance, key_id, op_id, lease_id, reason, actor, created_us
FROM (SELECT *, row_number() OVER (ORDER BY id) AS seq FROM entries_0003) AS numbered
ORDER BY seq;

UPDATE wallets SET last_entry = coalesce((SELECT e.seq FROM entries e WHERE e.id =
    (SELECT max(o.id) FROM entries_0003 o WHERE o.account_id = wallets.account_id)), 0);

DROP TABLE entries_0003;

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
