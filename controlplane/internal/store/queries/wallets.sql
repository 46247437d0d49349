-- name: Wallet :one
SELECT * FROM wallets WHERE account_id = sqlc.arg(account_id);

-- name: Entry :one
SELECT * FROM entries WHERE account_id = sqlc.arg(account_id) AND id = sqlc.arg(id);
