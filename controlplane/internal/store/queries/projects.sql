-- name: InsertProject :exec
INSERT INTO projects (id, account_id, name, domain, domain_status, created_us, updated_us)
VALUES (sqlc.arg(id), sqlc.arg(account_id), sqlc.arg(name), sqlc.arg(domain), 'unverified', sqlc.arg(created_us),
        sqlc.arg(created_us));

-- name: Project :one
SELECT * FROM projects WHERE id = sqlc.arg(id);

-- name: Projects :many
SELECT * FROM projects WHERE id < sqlc.arg(after) ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: ProjectsOfAccount :many
SELECT * FROM projects WHERE account_id = sqlc.arg(account_id) AND id < sqlc.arg(after)
ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: UpdateProject :exec
UPDATE projects SET name = sqlc.arg(name), domain = sqlc.arg(domain), domain_status = sqlc.arg(domain_status),
                    domain_reason = sqlc.arg(domain_reason), domain_actor = sqlc.arg(domain_actor),
                    domain_changed_us = sqlc.arg(domain_changed_us), updated_us = sqlc.arg(updated_us)
WHERE id = sqlc.arg(id);
