-- name: InsertToken :exec
INSERT INTO tokens (id, name, role, digest, created_us)
VALUES (sqlc.arg(id), sqlc.arg(name), sqlc.arg(role), sqlc.arg(digest), sqlc.arg(created_us));

-- name: TokenByDigest :one
SELECT id, name, role, created_us FROM tokens WHERE digest = sqlc.arg(digest);
