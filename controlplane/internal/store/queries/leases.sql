-- name: ExpiredLeases :many
SELECT id FROM leases WHERE state = 'open' AND closes_us <= sqlc.arg(closes_us) ORDER BY closes_us LIMIT sqlc.arg(max_rows);

-- name: DeleteClosedLeases :execrows
DELETE FROM leases WHERE id IN (
    SELECT l.id FROM leases l WHERE l.state = 'closed' AND l.closed_us < sqlc.arg(closed_us) LIMIT sqlc.arg(max_rows));

-- name: LongestTTL :one
SELECT CAST(coalesce(max(ttl_ms), 0) AS INTEGER) FROM operations;

-- name: HoldLeases :exec
UPDATE leases SET closes_us = sqlc.arg(closes_us) WHERE state = 'open' AND closes_us < sqlc.arg(closes_us);

-- name: LostLease :one
SELECT used FROM lost_leases WHERE lease_id = sqlc.arg(lease_id);

-- name: RecordLostLease :exec
INSERT INTO lost_leases (lease_id, gate, boot, used, reported_us)
VALUES (sqlc.arg(lease_id), sqlc.arg(gate), sqlc.arg(boot), sqlc.arg(used), sqlc.arg(reported_us))
ON CONFLICT (lease_id) DO UPDATE SET used = excluded.used, reported_us = excluded.reported_us;

-- name: DeleteLostLeases :execrows
DELETE FROM lost_leases WHERE lease_id IN (
    SELECT l.lease_id FROM lost_leases l WHERE l.reported_us < sqlc.arg(reported_us) LIMIT sqlc.arg(max_rows));
