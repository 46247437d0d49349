-- +goose Up

-- Who did what by the admin's means. before and after are JSON of what the target was and became, NULL where there was
-- none; no secret is in them, nor a digest of one. actor_id is a token's, or names a command or a job of the program's own;
-- the other columns of the actor are as they were at the time. account_id is empty where the act concerns no account.
CREATE TABLE audit (
    id          TEXT    NOT NULL PRIMARY KEY,
    at_us       INTEGER NOT NULL,
    actor_id    TEXT    NOT NULL CHECK (actor_id <> ''),
    actor_name  TEXT    NOT NULL,
    actor_role  TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    action      TEXT    NOT NULL CHECK (action <> ''),
    target_kind TEXT    NOT NULL CHECK (target_kind <> ''),
    target_id   TEXT    NOT NULL CHECK (target_id <> ''),
    account_id  TEXT    NOT NULL,
    before      TEXT,
    after       TEXT,
    reason      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_actor ON audit (actor_id, id);
CREATE INDEX audit_by_action ON audit (action, id);
CREATE INDEX audit_by_target ON audit (target_id, id);
CREATE INDEX audit_by_account ON audit (account_id, id);

-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is immutable');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is immutable');
END;
-- +goose StatementEnd

-- A token of role account is for that one account. A token works before expires_us and until revoked_us is set.
-- last_used_us is rough: it is written now and then, not with each request.
ALTER TABLE tokens RENAME TO tokens_0001;

CREATE TABLE tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL CHECK (name <> ''),
    role         TEXT    NOT NULL CHECK (role = 'owner' OR role = 'operator' OR role = 'billing' OR role = 'viewer' OR role = 'gate' OR role = 'account'),
    account_id   TEXT    REFERENCES accounts (id),
    digest       BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_us   INTEGER NOT NULL,
    expires_us   INTEGER,
    revoked_us   INTEGER,
    last_used_us INTEGER,
    CHECK ((role = 'account') = (account_id IS NOT NULL))
) STRICT;

CREATE INDEX tokens_by_account ON tokens (account_id, id);

INSERT INTO tokens (id, name, role, account_id, digest, created_us, expires_us, revoked_us, last_used_us)
SELECT id, name, role, NULL, digest, created_us, NULL, NULL, NULL FROM tokens_0001;

DROP TABLE tokens_0001;

-- What an admin call did under an idempotency key: kind names the call, result_id what it made.
ALTER TABLE idempotency RENAME TO idempotency_0002;

CREATE TABLE idempotency (
    caller       TEXT    NOT NULL,
    idem_key     TEXT    NOT NULL,
    request_hash BLOB    NOT NULL CHECK (length(request_hash) = 32),
    kind         TEXT    NOT NULL CHECK (kind <> ''),
    result_id    TEXT    NOT NULL,
    created_us   INTEGER NOT NULL,
    PRIMARY KEY (caller, idem_key)
) STRICT, WITHOUT ROWID;

INSERT INTO idempotency (caller, idem_key, request_hash, kind, result_id, created_us)
SELECT caller, idem_key, request_hash, kind, result_id, created_us FROM idempotency_0002;

DROP TABLE idempotency_0002;
