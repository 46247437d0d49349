-- name: ExpiredLeases :many
SELECT id FROM leases WHERE state = 'open' AND closes_us <= sqlc.arg(closes_us) ORDER BY closes_us LIMIT sqlc.arg(max_rows);

-- name: DeleteClosedLeases :execrows
DELETE FROM leases WHERE id IN (
    SELECT l.id FROM leases l WHERE l.state = 'closed' AND l.closed_us < sqlc.arg(closed_us) LIMIT sqlc.arg(max_rows));
