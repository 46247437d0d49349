-- name: InsertKey :exec
INSERT INTO keys (id, account_id, scheme, name, prefix, last4, digest, status, created_us, updated_us)
VALUES (sqlc.arg(id), sqlc.arg(account_id), sqlc.arg(scheme), sqlc.arg(name), sqlc.arg(prefix), sqlc.arg(last4),
        sqlc.arg(digest), 'active', sqlc.arg(created_us), sqlc.arg(created_us));

-- name: Key :one
SELECT id, account_id, scheme, name, prefix, last4, status, created_us, updated_us, revoked_us
FROM keys WHERE id = sqlc.arg(id);

-- name: Keys :many
SELECT id, account_id, scheme, name, prefix, last4, status, created_us, updated_us, revoked_us
FROM keys WHERE id < sqlc.arg(after) ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: KeysOfAccount :many
SELECT id, account_id, scheme, name, prefix, last4, status, created_us, updated_us, revoked_us
FROM keys WHERE account_id = sqlc.arg(account_id) AND id < sqlc.arg(after)
ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: UpdateKey :exec
UPDATE keys SET name = sqlc.arg(name), status = sqlc.arg(status), updated_us = sqlc.arg(updated_us),
                revoked_us = sqlc.arg(revoked_us)
WHERE id = sqlc.arg(id);
