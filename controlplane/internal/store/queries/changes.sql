-- name: Meta :one
SELECT value FROM meta WHERE name = sqlc.arg(name);

-- name: SetMeta :exec
UPDATE meta SET value = sqlc.arg(value) WHERE name = sqlc.arg(name);

-- name: InsertChange :exec
INSERT INTO changes (kind, id, created_us) VALUES (sqlc.arg(kind), sqlc.arg(id), sqlc.arg(created_us));

-- name: ChangesAfter :many
SELECT seq, kind, id, created_us FROM changes WHERE seq > sqlc.arg(seq) ORDER BY seq LIMIT sqlc.arg(max_rows);

-- name: NewestChange :one
SELECT seq FROM changes ORDER BY seq DESC LIMIT 1;

-- name: NewestChangeBefore :one
SELECT seq FROM changes WHERE created_us < sqlc.arg(created_us) ORDER BY seq DESC LIMIT 1;

-- name: DeleteChanges :execrows
DELETE FROM changes WHERE seq <= sqlc.arg(seq);
