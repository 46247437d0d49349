-- name: InsertToken :exec
INSERT INTO tokens (id, name, role, account_id, digest, created_us, expires_us)
VALUES (sqlc.arg(id), sqlc.arg(name), sqlc.arg(role), sqlc.arg(account_id), sqlc.arg(digest), sqlc.arg(created_us),
        sqlc.arg(expires_us));

-- name: Token :one
SELECT * FROM tokens WHERE id = sqlc.arg(id);

-- name: TokenByDigest :one
SELECT * FROM tokens WHERE digest = sqlc.arg(digest);

-- name: Tokens :many
SELECT * FROM tokens WHERE id < sqlc.arg(after) ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: TokensOfAccount :many
SELECT * FROM tokens WHERE account_id = sqlc.arg(account_id) AND id < sqlc.arg(after)
ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: RevokeToken :exec
UPDATE tokens SET revoked_us = sqlc.arg(revoked_us) WHERE id = sqlc.arg(id);

-- name: OtherOwners :one
SELECT count(*) FROM tokens
WHERE role = 'owner' AND id <> sqlc.arg(id) AND revoked_us IS NULL AND (expires_us IS NULL OR expires_us > sqlc.arg(now_us));

-- name: UseToken :exec
UPDATE tokens SET last_used_us = sqlc.arg(used_us)
WHERE id = sqlc.arg(id) AND (last_used_us IS NULL OR last_used_us < sqlc.arg(used_us));
