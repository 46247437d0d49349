-- +goose Up

-- What the holder of a project's domain was asked to put somewhere, one at a time. The token is no secret: it is to be
-- published. method is where it may be put: in DNS, in a file on the domain, or in either.
CREATE TABLE domain_challenges (
    project_id TEXT    NOT NULL PRIMARY KEY REFERENCES projects (id),
    method     TEXT    NOT NULL CHECK (method = 'dns' OR method = 'http' OR method = 'either'),
    token      TEXT    NOT NULL CHECK (length(token) >= 26),
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL CHECK (expires_us > created_us),
    checked_us INTEGER,
    outcome    TEXT    NOT NULL DEFAULT '',
    CHECK ((checked_us IS NULL) = (outcome = ''))
) STRICT, WITHOUT ROWID;

-- A challenge that was answered, and is looked at again at next_us: a row is there exactly while the domain counts as
-- verified because of it. seen_us is when the answer was last there, failing_us when it first was not.
CREATE TABLE domain_proofs (
    project_id TEXT    NOT NULL PRIMARY KEY REFERENCES projects (id),
    method     TEXT    NOT NULL CHECK (method = 'dns' OR method = 'http' OR method = 'either'),
    token      TEXT    NOT NULL CHECK (length(token) >= 26),
    proven_by  TEXT    NOT NULL CHECK (proven_by = 'dns' OR proven_by = 'http'),
    proven_us  INTEGER NOT NULL,
    seen_us    INTEGER NOT NULL,
    checked_us INTEGER NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome <> ''),
    failures   INTEGER NOT NULL CHECK (failures >= 0),
    failing_us INTEGER,
    next_us    INTEGER NOT NULL,
    CHECK ((failures > 0) = (failing_us IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX domain_proofs_due ON domain_proofs (next_us, project_id);
