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

-- name: FoldUsage :exec
INSERT INTO usage_days (day_us, key_id, route, requests, credits, refused)
SELECT u.hour_us - u.hour_us % 86400000000 AS day_us, u.key_id, u.route,
       CASE WHEN sum(u.requests) > 9007199254740991 THEN 9007199254740991 ELSE sum(u.requests) END AS requests,
       CASE WHEN sum(u.credits) > 9007199254740991 THEN 9007199254740991 ELSE sum(u.credits) END AS credits,
       CASE WHEN sum(u.refused) > 9007199254740991 THEN 9007199254740991 ELSE sum(u.refused) END AS refused
FROM (SELECT h.hour_us, h.key_id, h.route, h.requests, h.credits, h.refused FROM usage h WHERE h.hour_us < sqlc.arg(before_us)
      ORDER BY h.hour_us, h.key_id, h.route, h.conversation LIMIT sqlc.arg(max_rows)) u
WHERE true
GROUP BY 1, 2, 3
ON CONFLICT (key_id, day_us, route) DO UPDATE SET
    requests = CASE WHEN usage_days.requests > 9007199254740991 - excluded.requests THEN 9007199254740991
        ELSE usage_days.requests + excluded.requests END,
    credits = CASE WHEN usage_days.credits > 9007199254740991 - excluded.credits THEN 9007199254740991
        ELSE usage_days.credits + excluded.credits END,
    refused = CASE WHEN usage_days.refused > 9007199254740991 - excluded.refused THEN 9007199254740991
        ELSE usage_days.refused + excluded.refused END;

-- name: DeleteFolded :execrows
DELETE FROM usage WHERE (hour_us, key_id, route, conversation) IN (
    SELECT h.hour_us, h.key_id, h.route, h.conversation FROM usage h WHERE h.hour_us < sqlc.arg(before_us)
    ORDER BY h.hour_us, h.key_id, h.route, h.conversation LIMIT sqlc.arg(max_rows));
