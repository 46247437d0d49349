-- name: UpsertChallenge :exec
INSERT INTO domain_challenges (project_id, method, token, created_us, expires_us)
VALUES (sqlc.arg(project_id), sqlc.arg(method), sqlc.arg(token), sqlc.arg(created_us), sqlc.arg(expires_us))
ON CONFLICT (project_id) DO UPDATE SET method = excluded.method, token = excluded.token, created_us = excluded.created_us,
                                       expires_us = excluded.expires_us, checked_us = NULL, outcome = '';

-- name: Challenge :one
SELECT * FROM domain_challenges WHERE project_id = sqlc.arg(project_id);

-- name: SetChallengeOutcome :exec
UPDATE domain_challenges SET checked_us = sqlc.arg(checked_us), outcome = sqlc.arg(outcome)
WHERE project_id = sqlc.arg(project_id);

-- name: DeleteChallenge :exec
DELETE FROM domain_challenges WHERE project_id = sqlc.arg(project_id);

-- name: InsertProof :exec
INSERT INTO domain_proofs (project_id, method, token, proven_by, proven_us, seen_us, checked_us, outcome, failures, failing_us,
                           next_us)
VALUES (sqlc.arg(project_id), sqlc.arg(method), sqlc.arg(token), sqlc.arg(proven_by), sqlc.arg(proven_us),
        sqlc.arg(proven_us), sqlc.arg(proven_us), sqlc.arg(outcome), 0, NULL, sqlc.arg(next_us));

-- name: Proof :one
SELECT * FROM domain_proofs WHERE project_id = sqlc.arg(project_id);

-- name: SetProofOutcome :exec
UPDATE domain_proofs SET seen_us = sqlc.arg(seen_us), checked_us = sqlc.arg(checked_us), outcome = sqlc.arg(outcome),
                         failures = sqlc.arg(failures), failing_us = sqlc.arg(failing_us), next_us = sqlc.arg(next_us)
WHERE project_id = sqlc.arg(project_id);

-- name: DeleteProof :exec
DELETE FROM domain_proofs WHERE project_id = sqlc.arg(project_id);

-- name: DueProofs :many
SELECT d.project_id FROM domain_proofs d WHERE d.next_us <= sqlc.arg(now_us)
    AND NOT EXISTS (SELECT 1 FROM projects p JOIN accounts a ON a.id = p.account_id
                    WHERE p.id = d.project_id AND a.closed_us IS NOT NULL)
ORDER BY d.next_us, d.project_id
LIMIT sqlc.arg(max_rows);
