-- name: CountBatch :execrows
INSERT INTO usage_batches (gate, boot, seq, updated_us)
VALUES (sqlc.arg(gate), sqlc.arg(boot), sqlc.arg(seq), sqlc.arg(updated_us))
ON CONFLICT (gate, boot) DO UPDATE SET seq = excluded.seq, updated_us = excluded.updated_us
WHERE usage_batches.seq < excluded.seq;

-- name: AddUsage :exec
INSERT INTO usage (hour_us, key_id, route, conversation, requests, credits, refused)
VALUES (sqlc.arg(hour_us), sqlc.arg(key_id), sqlc.arg(route), sqlc.arg(conversation), sqlc.arg(requests),
        sqlc.arg(credits), sqlc.arg(refused))
ON CONFLICT (key_id, hour_us, route, conversation) DO UPDATE SET
    requests = CASE WHEN usage.requests > 9007199254740991 - excluded.requests THEN 9007199254740991
        ELSE usage.requests + excluded.requests END,
    credits = CASE WHEN usage.credits > 9007199254740991 - excluded.credits THEN 9007199254740991
        ELSE usage.credits + excluded.credits END,
    refused = CASE WHEN usage.refused > 9007199254740991 - excluded.refused THEN 9007199254740991
        ELSE usage.refused + excluded.refused END;

-- name: DeleteBatches :execrows
DELETE FROM usage_batches WHERE updated_us < sqlc.arg(updated_us);
