-- name: InsertKey :exec
INSERT INTO keys (id, account_id, project_id, scheme, name, environment, prefix, last4, publishable, status, created_us,
                  updated_us, expires_us, metadata, restriction, external_ref, import_id)
VALUES (sqlc.arg(id), sqlc.arg(account_id), sqlc.arg(project_id), sqlc.arg(scheme), sqlc.arg(name),
        sqlc.arg(environment), sqlc.arg(prefix), sqlc.arg(last4), sqlc.arg(publishable), 'active', sqlc.arg(created_us),
        sqlc.arg(created_us), sqlc.arg(expires_us), sqlc.arg(metadata), sqlc.arg(restriction), sqlc.arg(external_ref),
        sqlc.arg(import_id));

-- name: Key :one
SELECT * FROM keys WHERE id = sqlc.arg(id);

-- name: UpdateKey :exec
UPDATE keys SET name = sqlc.arg(name), environment = sqlc.arg(environment), last4 = sqlc.arg(last4),
                publishable = sqlc.arg(publishable), status = sqlc.arg(status), replaced_by = sqlc.arg(replaced_by),
                updated_us = sqlc.arg(updated_us), expires_us = sqlc.arg(expires_us), revoked_us = sqlc.arg(revoked_us),
                metadata = sqlc.arg(metadata), restriction = sqlc.arg(restriction)
WHERE id = sqlc.arg(id);

-- name: InsertDigest :exec
INSERT INTO key_digests (digest, key_id, half, created_us)
VALUES (sqlc.arg(digest), sqlc.arg(key_id), sqlc.arg(half), sqlc.arg(created_us));

-- name: EndNewestDigest :exec
UPDATE key_digests SET not_after_us = sqlc.arg(not_after_us)
WHERE key_id = sqlc.arg(key_id) AND half = sqlc.arg(half) AND not_after_us IS NULL;

-- name: DeleteKeyMetadata :exec
DELETE FROM key_metadata WHERE name = sqlc.arg(name) AND value = sqlc.arg(value) AND key_id = sqlc.arg(key_id);

-- name: NewestDigests :many
SELECT digest FROM key_digests WHERE key_id = sqlc.arg(key_id) AND not_after_us IS NULL ORDER BY half;
