-- name: InsertAccount :exec
INSERT INTO accounts (id, name, status, created_us, updated_us)
VALUES (sqlc.arg(id), sqlc.arg(name), sqlc.arg(status), sqlc.arg(created_us), sqlc.arg(created_us));

-- name: InsertWallet :exec
INSERT INTO wallets (account_id) VALUES (sqlc.arg(account_id));

-- name: Account :one
SELECT * FROM accounts WHERE id = sqlc.arg(id);

-- name: Accounts :many
SELECT * FROM accounts WHERE id < sqlc.arg(after) ORDER BY id DESC LIMIT sqlc.arg(max_rows);

-- name: UpdateAccount :exec
UPDATE accounts SET name = sqlc.arg(name), status = sqlc.arg(status), updated_us = sqlc.arg(updated_us)
WHERE id = sqlc.arg(id);

-- name: CloseAccount :exec
UPDATE accounts SET status = 'disabled', closed_us = sqlc.arg(closed_us), closed_reason = sqlc.arg(closed_reason),
                    closed_actor = sqlc.arg(closed_actor), updated_us = sqlc.arg(closed_us)
WHERE id = sqlc.arg(id);
