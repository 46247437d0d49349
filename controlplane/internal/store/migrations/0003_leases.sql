-- +goose Up

-- Numbers that are one of a kind. epoch says which life of the data this is: a gate's leases of another one are worth
-- nothing. changes_pruned is the newest change that was deleted.
CREATE TABLE meta (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL CHECK (value >= 0)
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('epoch', 1), ('changes_pruned', 0);

-- What gates have to hear of. seq ascends in the order of commits and is never used again.
CREATE TABLE changes (
    seq        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind = 'key' OR kind = 'project' OR kind = 'account' OR kind = 'credits'),
    id         TEXT    NOT NULL CHECK (id <> ''),
    created_us INTEGER NOT NULL
) STRICT;

-- Credits that one VM of a gate, named by its boot, may spend by itself. used is what it has reported; forfeited what was
-- charged for at the close and reported neither used nor unused since; unpaid what of used nobody has paid for. A lease
-- that is final moves nothing any more. ends_us is when the gate stops spending, closes_us when the lease is closed
-- without it; both are of the clock that never steps. Of an open lease granted - used is reserved in the wallet.
CREATE TABLE leases (
    id         TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    key_id     TEXT    NOT NULL REFERENCES keys (id),
    gate       TEXT    NOT NULL CHECK (gate <> ''),
    boot       TEXT    NOT NULL CHECK (boot <> ''),
    op_id      TEXT    NOT NULL,
    granted    INTEGER NOT NULL CHECK (granted BETWEEN 1 AND 9007199254740991),
    used       INTEGER NOT NULL CHECK (used BETWEEN 0 AND granted),
    state      TEXT    NOT NULL CHECK (state = 'open' OR state = 'closed'),
    final      INTEGER NOT NULL CHECK (final BETWEEN 0 AND 1),
    draining   INTEGER NOT NULL CHECK (draining BETWEEN 0 AND 1),
    forfeited  INTEGER NOT NULL CHECK (forfeited BETWEEN 0 AND granted - used),
    unpaid     INTEGER NOT NULL CHECK (unpaid BETWEEN 0 AND used),
    created_us INTEGER NOT NULL,
    ends_us    INTEGER NOT NULL,
    closes_us  INTEGER NOT NULL CHECK (closes_us >= ends_us),
    closed_us  INTEGER,
    CHECK ((state = 'closed') = (closed_us IS NOT NULL)),
    CHECK (state = 'closed' OR (final = 0 AND forfeited = 0 AND unpaid = 0)),
    CHECK (final = 0 OR forfeited = 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_open ON leases (account_id, boot) WHERE state = 'open';
CREATE INDEX leases_closing ON leases (closes_us) WHERE state = 'open';
CREATE INDEX leases_draining ON leases (boot) WHERE state = 'open' AND draining = 1;
CREATE INDEX leases_closed ON leases (closed_us) WHERE state = 'closed';

-- The newest usage batch of a VM that was counted.
CREATE TABLE usage_batches (
    gate       TEXT    NOT NULL,
    boot       TEXT    NOT NULL,
    seq        INTEGER NOT NULL CHECK (seq > 0),
    updated_us INTEGER NOT NULL,
    PRIMARY KEY (gate, boot)
) STRICT, WITHOUT ROWID;

-- Requests by the hour in which gates reported them. key_id is empty in the rows of what no gate had room for. The
-- sums stop at 2^53-1.
CREATE TABLE usage (
    hour_us      INTEGER NOT NULL,
    key_id       TEXT    NOT NULL,
    route        TEXT    NOT NULL CHECK (route <> ''),
    conversation TEXT    NOT NULL,
    requests     INTEGER NOT NULL CHECK (requests BETWEEN 0 AND 9007199254740991),
    credits      INTEGER NOT NULL CHECK (credits  BETWEEN 0 AND 9007199254740991),
    refused      INTEGER NOT NULL CHECK (refused  BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (key_id, hour_us, route, conversation)
) STRICT, WITHOUT ROWID;

-- An operation that granted a lease has its id, and credits are then what the lease was granted, whatever became of it.
-- ttl_ms, cursor and epoch are what it was answered with; 0 unless it asked for a lease.
ALTER TABLE operations ADD COLUMN lease_id TEXT NOT NULL DEFAULT '';
ALTER TABLE operations ADD COLUMN ttl_ms INTEGER NOT NULL DEFAULT 0 CHECK (ttl_ms >= 0);
ALTER TABLE operations ADD COLUMN cursor INTEGER NOT NULL DEFAULT 0 CHECK (cursor >= 0);
ALTER TABLE operations ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0);

-- The rows of one transaction share transaction_id and sum to zero, but for written_off: it is a memo of credits used
-- that nobody paid for, and in no sum. balance is the bucket's after the row. key_id and op_id are empty unless a gate
-- caused the transaction, lease_id unless a lease did; its op_id is then that of the lease. reason and actor are empty
-- unless an admin caused the transaction.
DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
ALTER TABLE entries RENAME TO entries_0002;

CREATE TABLE entries (
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    id             TEXT    NOT NULL,
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
    PRIMARY KEY (account_id, id),
    CHECK ((kind = 'unpaid' OR kind = 'late_write_off') = (bucket = 'written_off')),
    CHECK ((kind = 'debit' OR kind = 'top_up' OR kind = 'void' OR kind = 'unpaid') = (lease_id = ''))
) STRICT, WITHOUT ROWID;

INSERT INTO entries (account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, lease_id, reason, actor,
                     created_us)
SELECT account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, '', reason, actor, created_us
FROM entries_0002;

DROP TABLE entries_0002;

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
