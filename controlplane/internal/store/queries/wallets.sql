-- name: Wallet :one
SELECT * FROM wallets WHERE account_id = sqlc.arg(account_id);

-- name: Entry :one
SELECT * FROM entries WHERE account_id = sqlc.arg(account_id) AND id = sqlc.arg(id);

-- name: InsertCredit :exec
INSERT INTO credits (transaction_id, account_id, kind, amount, idempotency_key, refunded_entry, refunded_op)
VALUES (sqlc.arg(transaction_id), sqlc.arg(account_id), sqlc.arg(kind), sqlc.arg(amount), sqlc.arg(idempotency_key),
        sqlc.arg(refunded_entry), sqlc.arg(refunded_op));

-- name: Credit :one
SELECT * FROM credits WHERE transaction_id = sqlc.arg(transaction_id);

-- name: RefundsOfEntry :many
SELECT amount FROM credits WHERE refunded_entry = sqlc.arg(refunded_entry);

-- name: RefundsOfOperation :many
SELECT amount FROM credits WHERE refunded_op = sqlc.arg(refunded_op);

-- name: OperationVerdict :one
SELECT verdict FROM operations WHERE op_id = sqlc.arg(op_id);

-- name: CountRefunds :one
SELECT count(*) FROM credits WHERE account_id = sqlc.arg(account_id) AND kind = 'refund';
