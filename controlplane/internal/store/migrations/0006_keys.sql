-- +goose Up

-- metadata is a flat JSON object of strings, for its owner's own use, and restriction JSON of where the key may be used, as
-- gates are told it; both are empty where there is none. external_ref is the name of an imported key where it came from,
-- and import_id the import that made it; both are empty otherwise. last_used_us is rough: it is written now and then, not
-- with each request.
ALTER TABLE keys ADD COLUMN metadata     TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN restriction  TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN external_ref TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN import_id    TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN last_used_us INTEGER;

-- What keys are searched by. Each index goes on by id, so that its rows come in the order of lists.
CREATE INDEX keys_by_last4 ON keys (last4, id);
CREATE INDEX keys_by_status ON keys (status, id);
CREATE INDEX keys_by_environment ON keys (environment, id);
CREATE INDEX keys_by_scheme ON keys (scheme, id);
CREATE INDEX keys_by_prefix ON keys (prefix, id);
CREATE INDEX keys_by_publishable ON keys (publishable, id) WHERE publishable <> '';
CREATE INDEX keys_by_external_ref ON keys (external_ref, id) WHERE external_ref <> '';

-- The entries of the keys' metadata once more, to be found by.
CREATE TABLE key_metadata (
    name   TEXT NOT NULL CHECK (name <> ''),
    value  TEXT NOT NULL,
    key_id TEXT NOT NULL REFERENCES keys (id),
    PRIMARY KEY (name, value, key_id)
) STRICT, WITHOUT ROWID;
