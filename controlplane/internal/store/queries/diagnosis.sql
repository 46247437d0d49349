-- name: GatesSeen :many
SELECT s.gate, CAST(count(DISTINCT s.boot) AS INTEGER) AS vms, CAST(max(s.us) AS INTEGER) AS last_us
FROM (SELECT l.gate, l.boot, l.created_us AS us FROM leases l
      UNION ALL SELECT b.gate, b.boot, b.updated_us FROM usage_batches b) AS s
GROUP BY s.gate ORDER BY s.gate;

-- name: CountTokens :many
SELECT role, count(*) AS tokens FROM tokens
WHERE revoked_us IS NULL AND (expires_us IS NULL OR expires_us > sqlc.arg(now_us)) GROUP BY role;
