-- name: InsertAct :exec
INSERT INTO audit (id, at_us, actor_id, actor_name, actor_role, request_id, action, target_kind, target_id, account_id,
                   before, after, reason)
VALUES (sqlc.arg(id), sqlc.arg(at_us), sqlc.arg(actor_id), sqlc.arg(actor_name), sqlc.arg(actor_role),
        sqlc.arg(request_id), sqlc.arg(action), sqlc.arg(target_kind), sqlc.arg(target_id), sqlc.arg(account_id),
        sqlc.arg(before), sqlc.arg(after), sqlc.arg(reason));
