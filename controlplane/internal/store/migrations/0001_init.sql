-- +goose Up

-- Times are microseconds since 1970 UTC. Ids are a prefix and a UUIDv7 in an alphabet that sorts as it counts,
-- so that id order is creation order. Amounts and balances stay within 2^53-1. Checks spell out longer lists with OR:
-- for IN with more than two values SQLite fills a temporary table each time it evaluates it.

CREATE TABLE accounts (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL CHECK (name <> ''),
    status     TEXT    NOT NULL CHECK (status = 'pending' OR status = 'active' OR status = 'disabled'),
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT;

-- funding is minus what was granted, so that the four buckets sum to zero; written_off is a memo outside of it.
CREATE TABLE wallets (
    account_id  TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    funding     INTEGER NOT NULL DEFAULT 0 CHECK (funding     BETWEEN -9007199254740991 AND 0),
    available   INTEGER NOT NULL DEFAULT 0 CHECK (available   BETWEEN 0 AND 9007199254740991),
    reserved    INTEGER NOT NULL DEFAULT 0 CHECK (reserved    BETWEEN 0 AND 9007199254740991),
    spent       INTEGER NOT NULL DEFAULT 0 CHECK (spent       BETWEEN 0 AND 9007199254740991),
    written_off INTEGER NOT NULL DEFAULT 0 CHECK (written_off BETWEEN 0 AND 9007199254740991),
    CHECK (funding + available + reserved + spent = 0)
) STRICT, WITHOUT ROWID;

-- digest is a hash of the hash that gates send, so that nothing in this table opens a gate.
CREATE TABLE keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    scheme     TEXT    NOT NULL CHECK (scheme <> ''),
    name       TEXT    NOT NULL CHECK (name <> ''),
    prefix     TEXT    NOT NULL,
    last4      TEXT    NOT NULL CHECK (length(last4) <= 4),
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    status     TEXT    NOT NULL CHECK (status = 'active' OR status = 'inactive' OR status = 'revoked'),
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    revoked_us INTEGER,
    CHECK ((status = 'revoked') = (revoked_us IS NOT NULL))
) STRICT;

CREATE INDEX keys_by_account ON keys (account_id, id);

CREATE TABLE tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL CHECK (name <> ''),
    role       TEXT    NOT NULL CHECK (role = 'owner' OR role = 'operator' OR role = 'viewer' OR role = 'gate'),
    digest     BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_us INTEGER NOT NULL
) STRICT;

-- The rows of one transaction share transaction_id and sum to zero. balance is the bucket's after the row. key_id
-- and op_id are empty unless a gate caused the transaction; reason and actor unless an admin did.
CREATE TABLE entries (
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    id             TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind IN ('top_up', 'debit')),
    bucket         TEXT    NOT NULL CHECK (bucket = 'funding' OR bucket = 'available' OR bucket = 'reserved' OR bucket = 'spent'),
    delta          INTEGER NOT NULL CHECK (delta <> 0 AND delta BETWEEN -9007199254740991 AND 9007199254740991),
    balance        INTEGER NOT NULL CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    key_id         TEXT    NOT NULL,
    op_id          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    created_us     INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

-- What was answered to an op_id that could have moved credits.
CREATE TABLE operations (
    op_id        TEXT    NOT NULL PRIMARY KEY,
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    verdict      TEXT    NOT NULL CHECK (verdict IN ('granted', 'insufficient_credits')),
    account_id   TEXT    NOT NULL,
    key_id       TEXT    NOT NULL,
    credits      INTEGER NOT NULL CHECK (credits BETWEEN 0 AND 9007199254740991),
    created_us   INTEGER NOT NULL,
    CHECK ((verdict = 'granted') = (credits > 0))
) STRICT, WITHOUT ROWID;

-- What an admin call did under an idempotency key: result_id is an entry's or a key's.
CREATE TABLE idempotency (
    caller       TEXT    NOT NULL,
    idem_key     TEXT    NOT NULL,
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    kind         TEXT    NOT NULL CHECK (kind IN ('top_up', 'create_key')),
    result_id    TEXT    NOT NULL,
    created_us   INTEGER NOT NULL,
    PRIMARY KEY (caller, idem_key)
) STRICT, WITHOUT ROWID;

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
