-- +goose Up

-- ids is a time that no id is beyond, in 4096ths of a millisecond. learning_us is 0 unless the data was restored from a
-- backup: for how long after its first serve gates may hold leases that it does not know.
INSERT INTO meta (name, value)
SELECT 'ids', 4096 * (1 + max(0, coalesce(max(us), 0)) / 1000)
FROM (SELECT max(created_us) AS us FROM entries UNION ALL SELECT max(created_us) FROM accounts
      UNION ALL SELECT max(created_us) FROM projects UNION ALL SELECT max(created_us) FROM keys
      UNION ALL SELECT max(created_us) FROM leases UNION ALL SELECT max(created_us) FROM tokens) AS newest;

INSERT INTO meta (name, value) VALUES ('learning_us', 0);

-- Leases that gates reported and the data does not know, because it was restored from a backup made before: what was
-- used of them is in no balance.
CREATE TABLE lost_leases (
    lease_id    TEXT    NOT NULL PRIMARY KEY,
    gate        TEXT    NOT NULL CHECK (gate <> ''),
    boot        TEXT    NOT NULL CHECK (boot <> ''),
    used        INTEGER NOT NULL CHECK (used BETWEEN 1 AND 9007199254740991),
    reported_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX lost_leases_reported ON lost_leases (reported_us);

CREATE INDEX idempotency_created ON idempotency (created_us);
