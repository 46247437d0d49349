-- +goose Up

-- Tables whose checks change are rebuilt: the old one is renamed, its rows are copied, and it is dropped.

-- domain_reason and domain_actor say why and by whom its status was last set; domain_changed_us is NULL until then.
CREATE TABLE projects (
    id                TEXT    NOT NULL PRIMARY KEY,
    account_id        TEXT    NOT NULL REFERENCES accounts (id),
    name              TEXT    NOT NULL CHECK (name <> ''),
    domain            TEXT    NOT NULL CHECK (length(domain) BETWEEN 1 AND 253),
    domain_status     TEXT    NOT NULL CHECK (domain_status = 'unverified' OR domain_status = 'verified' OR domain_status = 'lapsed'),
    domain_reason     TEXT    NOT NULL DEFAULT '',
    domain_actor      TEXT    NOT NULL DEFAULT '',
    domain_changed_us INTEGER,
    created_us        INTEGER NOT NULL,
    updated_us        INTEGER NOT NULL,
    CHECK (domain_status = 'unverified' OR domain_changed_us IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX projects_by_account ON projects (account_id, id);

-- A key of a project is a pair: it has a publishable half, kept in clear, and the account is the project's. A key
-- without a project is one secret.
ALTER TABLE keys RENAME TO keys_0001;
DROP INDEX keys_by_account;

CREATE TABLE keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    project_id  TEXT    REFERENCES projects (id),
    scheme      TEXT    NOT NULL CHECK (scheme <> ''),
    name        TEXT    NOT NULL CHECK (name <> ''),
    environment TEXT    NOT NULL CHECK (environment = 'production' OR environment = 'staging'),
    prefix      TEXT    NOT NULL,
    last4       TEXT    NOT NULL CHECK (length(last4) <= 4),
    publishable TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status = 'active' OR status = 'inactive' OR status = 'revoked'),
    replaced_by TEXT    REFERENCES keys (id),
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    expires_us  INTEGER,
    revoked_us  INTEGER,
    CHECK ((status = 'revoked') = (revoked_us IS NOT NULL)),
    CHECK ((project_id IS NULL) = (publishable = '')),
    CHECK (replaced_by IS NULL OR status = 'revoked')
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_account ON keys (account_id, id);
CREATE INDEX keys_by_project ON keys (project_id, id);

INSERT INTO keys (id, account_id, project_id, scheme, name, environment, prefix, last4, publishable, status, replaced_by,
                  created_us, updated_us, expires_us, revoked_us)
SELECT id, account_id, NULL, scheme, name, 'production', prefix, last4, '', status, NULL, created_us, updated_us, NULL,
       revoked_us
FROM keys_0001;

-- Every half that a key ever had. digest is a hash of the hash that gates send, so that nothing in this table opens a
-- gate. A half works before not_after_us, or as long as its key if that is NULL, as it is of the newest half alone.
CREATE TABLE key_digests (
    digest       BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    key_id       TEXT    NOT NULL REFERENCES keys (id),
    half         TEXT    NOT NULL CHECK (half = 'secret' OR half = 'publishable'),
    not_after_us INTEGER,
    created_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX key_digests_newest ON key_digests (key_id, half) WHERE not_after_us IS NULL;

INSERT INTO key_digests (digest, key_id, half, not_after_us, created_us)
SELECT digest, id, 'secret', NULL, created_us FROM keys_0001;

DROP TABLE keys_0001;

-- What became of an op_id that moved credits, or might have. request_hash is NULL where no acquire was answered: the
-- row then keeps a late one from debiting. A voided row has credits if they were debited and reversed; an unpaid row
-- has what was written off. available is the balance that a grant was answered with.
ALTER TABLE operations RENAME TO operations_0001;

CREATE TABLE operations (
    op_id        TEXT    NOT NULL PRIMARY KEY,
    request_hash BLOB    CHECK (length(request_hash) = 32),
    verdict      TEXT    NOT NULL CHECK (verdict = 'granted' OR verdict = 'insufficient_credits' OR verdict = 'voided' OR verdict = 'unpaid'),
    account_id   TEXT    NOT NULL,
    key_id       TEXT    NOT NULL,
    credits      INTEGER NOT NULL CHECK (credits BETWEEN 0 AND 9007199254740991),
    available    INTEGER NOT NULL CHECK (available BETWEEN 0 AND 9007199254740991),
    created_us   INTEGER NOT NULL,
    CHECK (verdict <> 'granted' OR credits > 0),
    CHECK (verdict <> 'insufficient_credits' OR credits = 0),
    CHECK (request_hash IS NOT NULL OR verdict = 'voided' OR verdict = 'unpaid'),
    CHECK (verdict <> 'voided' OR (request_hash IS NOT NULL) = (credits > 0)),
    CHECK ((account_id = '') = (key_id = '')),
    CHECK (account_id <> '' OR (request_hash IS NULL AND credits = 0))
) STRICT, WITHOUT ROWID;

INSERT INTO operations (op_id, request_hash, verdict, account_id, key_id, credits, available, created_us)
SELECT o.op_id, o.request_hash, o.verdict, o.account_id, o.key_id, o.credits, coalesce(e.balance, 0), o.created_us
FROM operations_0001 o
         LEFT JOIN (SELECT op_id, balance FROM entries WHERE kind = 'debit' AND bucket = 'available') e
                   ON e.op_id = o.op_id;

DROP TABLE operations_0001;

-- The rows of one transaction share transaction_id and sum to zero, but for written_off: it is a memo of credits used
-- that nobody paid for, and in no sum. balance is the bucket's after the row. key_id and op_id are empty unless a gate
-- caused the transaction; reason and actor unless an admin did.
DROP TRIGGER entries_no_update;
DROP TRIGGER entries_no_delete;
ALTER TABLE entries RENAME TO entries_0001;

CREATE TABLE entries (
    account_id     TEXT    NOT NULL REFERENCES accounts (id),
    id             TEXT    NOT NULL,
    transaction_id TEXT    NOT NULL,
    kind           TEXT    NOT NULL CHECK (kind = 'top_up' OR kind = 'debit' OR kind = 'void' OR kind = 'unpaid'),
    bucket         TEXT    NOT NULL CHECK (bucket = 'funding' OR bucket = 'available' OR bucket = 'reserved' OR bucket = 'spent' OR bucket = 'written_off'),
    delta          INTEGER NOT NULL CHECK (delta <> 0 AND delta BETWEEN -9007199254740991 AND 9007199254740991),
    balance        INTEGER NOT NULL CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    key_id         TEXT    NOT NULL,
    op_id          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    actor          TEXT    NOT NULL,
    created_us     INTEGER NOT NULL,
    PRIMARY KEY (account_id, id),
    CHECK ((kind = 'unpaid') = (bucket = 'written_off'))
) STRICT, WITHOUT ROWID;

INSERT INTO entries (account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, reason, actor, created_us)
SELECT account_id, id, transaction_id, kind, bucket, delta, balance, key_id, op_id, reason, actor, created_us
FROM entries_0001;

DROP TABLE entries_0001;

-- What an admin call did under an idempotency key: result_id is an entry's or a key's.
ALTER TABLE idempotency RENAME TO idempotency_0001;

CREATE TABLE idempotency (
    caller       TEXT    NOT NULL,
    idem_key     TEXT    NOT NULL,
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    kind         TEXT    NOT NULL CHECK (kind = 'top_up' OR kind = 'create_key' OR kind = 'rotate_key' OR kind = 'replace_key'),
    result_id    TEXT    NOT NULL,
    created_us   INTEGER NOT NULL,
    PRIMARY KEY (caller, idem_key)
) STRICT, WITHOUT ROWID;

INSERT INTO idempotency (caller, idem_key, request_hash, kind, result_id, created_us)
SELECT caller, idem_key, request_hash, kind, result_id, created_us FROM idempotency_0001;

DROP TABLE idempotency_0001;

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
