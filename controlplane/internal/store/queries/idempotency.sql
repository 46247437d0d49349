-- name: Idempotency :one
SELECT request_hash, kind, result_id FROM idempotency
WHERE caller = sqlc.arg(caller) AND idem_key = sqlc.arg(idem_key);

-- name: InsertIdempotency :exec
INSERT INTO idempotency (caller, idem_key, request_hash, kind, result_id, created_us)
VALUES (sqlc.arg(caller), sqlc.arg(idem_key), sqlc.arg(request_hash), sqlc.arg(kind), sqlc.arg(result_id),
        sqlc.arg(created_us));

-- name: DeleteIdempotency :execrows
DELETE FROM idempotency WHERE (caller, idem_key) IN (
    SELECT i.caller, i.idem_key FROM idempotency i WHERE i.created_us < sqlc.arg(created_us) LIMIT sqlc.arg(max_rows));
