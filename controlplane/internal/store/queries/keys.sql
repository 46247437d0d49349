-- name: InsertKey :exec
INSERT INTO keys (id, account_id, project_id, scheme, name, environment, prefix, last4, publishable, status, created_us,
                  updated_us, expires_us)
VALUES (sqlc.arg(id), sqlc.arg(account_id), sqlc.arg(project_id), sqlc.arg(scheme), sqlc.arg(name),
        sqlc.arg(environment), sqlc.arg(prefix), sqlc.arg(last4), sqlc.arg(publishable), 'active', sqlc.arg(created_us),
        sqlc.arg(created_us), sqlc.arg(expires_us));

-- name: Key :one
SELECT * FROM keys WHERE id = sqlc.arg(id);

-- name: Keys :many
SELECT * FROM keys WHERE id < sqlc.arg(after) ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: KeysOfAccount :many
SELECT * FROM keys WHERE account_id = sqlc.arg(account_id) AND id < sqlc.arg(after)
ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: KeysOfProject :many
SELECT * FROM keys WHERE project_id = sqlc.arg(project_id) AND id < sqlc.arg(after)
ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: UpdateKey :exec
UPDATE keys SET name = sqlc.arg(name), environment = sqlc.arg(environment), last4 = sqlc.arg(last4),
                publishable = sqlc.arg(publishable), status = sqlc.arg(status), replaced_by = sqlc.arg(replaced_by),
                updated_us = sqlc.arg(updated_us), expires_us = sqlc.arg(expires_us), revoked_us = sqlc.arg(revoked_us)
WHERE id = sqlc.arg(id);

-- name: InsertDigest :exec
INSERT INTO key_digests (digest, key_id, half, created_us)
VALUES (sqlc.arg(digest), sqlc.arg(key_id), sqlc.arg(half), sqlc.arg(created_us));

-- name: EndNewestDigest :exec
UPDATE key_digests SET not_after_us = sqlc.arg(not_after_us)
WHERE key_id = sqlc.arg(key_id) AND half = sqlc.arg(half) AND not_after_us IS NULL;
