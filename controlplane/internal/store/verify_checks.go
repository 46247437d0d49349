package store

import (
	"fmt"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

var damagedFile = check{"damaged file", `SELECT integrity_check AS found FROM pragma_integrity_check WHERE integrity_check <> 'ok'`}

// checks are all that Verify asks of the database but checkPublishables. None takes a running balance or a recorded
// verdict for granted: each is held against the entries.
var checks = []check{
	damagedFile,

	{"account without a wallet", `SELECT a.id AS account FROM accounts a LEFT JOIN wallets w ON w.account_id = a.id
		WHERE w.account_id IS NULL`},
	{"wallet without an account", `SELECT w.account_id AS account FROM wallets w LEFT JOIN accounts a ON a.id = w.account_id
		WHERE a.id IS NULL`},
	{"balance out of range", `SELECT account_id AS account, funding, available, reserved, spent, written_off FROM wallets
		WHERE funding > 0 OR available < 0 OR reserved < 0 OR spent < 0 OR written_off < 0
			OR max(-funding, available, reserved, spent, written_off) > 9007199254740991`},
	{"granted is not available and reserved and spent", `SELECT account_id AS account, -funding AS granted, available,
		reserved, spent FROM wallets WHERE funding + available + reserved + spent <> 0`},
	{"balance is not the sum of its entries", `SELECT account_id AS account, bucket, sum(balance) AS balance,
		coalesce(sum(delta), 0) AS entries
		FROM (SELECT account_id, 'funding' AS bucket, funding AS balance, NULL AS delta FROM wallets
			UNION ALL SELECT account_id, 'available', available, NULL FROM wallets
			UNION ALL SELECT account_id, 'reserved', reserved, NULL FROM wallets
			UNION ALL SELECT account_id, 'spent', spent, NULL FROM wallets
			UNION ALL SELECT account_id, 'written_off', written_off, NULL FROM wallets
			UNION ALL SELECT account_id, bucket, NULL, delta FROM entries)
		GROUP BY account_id, bucket HAVING count(balance) <> 1 OR sum(balance) <> coalesce(sum(delta), 0)`},

	{"reserved is not what open leases hold", `SELECT account_id AS account, sum(reserved) AS reserved, sum(held) AS held
		FROM (SELECT account_id, reserved, 0 AS held FROM wallets
			UNION ALL SELECT account_id, 0, granted - used FROM leases WHERE state = 'open')
		GROUP BY account_id HAVING sum(reserved) <> sum(held)`},

	{"transaction does not sum to zero", `SELECT transaction_id AS txn, min(account_id) AS account, sum(delta) AS sum
		FROM entries WHERE bucket <> 'written_off' GROUP BY transaction_id HAVING sum(delta) <> 0`},
	{"transaction mixes what does not belong together", `SELECT transaction_id AS txn, count(*) AS entries,
		count(DISTINCT account_id) AS accounts, count(DISTINCT kind) AS kinds, count(DISTINCT op_id) AS operations
		FROM entries GROUP BY transaction_id
		HAVING count(DISTINCT account_id) > 1 OR count(DISTINCT kind) > 1 OR count(DISTINCT op_id) > 1
			OR count(DISTINCT key_id) > 1 OR count(DISTINCT lease_id) > 1
			OR count(*) <> CASE min(bucket) WHEN 'written_off' THEN 1 ELSE 2 END`},
	{"entry does not fit its kind", `SELECT id AS entry, account_id AS account, kind, bucket, delta, op_id AS op FROM entries
		WHERE (bucket || CASE WHEN delta < 0 THEN '-' ELSE '+' END) NOT IN (
				CASE kind WHEN 'top_up' THEN 'funding-' WHEN 'refund' THEN 'spent-'
					WHEN 'adjustment' THEN CASE bucket WHEN 'funding' THEN CASE WHEN delta < 0 THEN 'funding-' ELSE 'funding+' END
						ELSE CASE WHEN delta < 0 THEN 'available-' ELSE 'available+' END END
					WHEN 'debit' THEN 'available-' WHEN 'void' THEN 'spent-'
					WHEN 'reserve' THEN 'available-' WHEN 'use' THEN 'reserved-' WHEN 'release' THEN 'reserved-'
					WHEN 'forfeit' THEN 'reserved-' WHEN 'late_use' THEN 'available-' WHEN 'late_refund' THEN 'spent-'
					ELSE 'written_off+' END,
				CASE kind WHEN 'debit' THEN 'spent+' WHEN 'reserve' THEN 'reserved+' WHEN 'use' THEN 'spent+'
					WHEN 'forfeit' THEN 'spent+' WHEN 'late_use' THEN 'spent+' WHEN 'unpaid' THEN 'written_off+'
					WHEN 'late_write_off' THEN 'written_off+' ELSE 'available+' END)
			OR (kind IN ('top_up', 'adjustment', 'refund')) <> (op_id = '')
			OR (kind IN ('top_up', 'debit', 'void', 'unpaid', 'adjustment', 'refund')) <> (lease_id = '')`},
	{"running balance does not follow from the entries before it", `SELECT id AS entry, account_id AS account, bucket, balance,
		running AS entries FROM (SELECT *, sum(delta) OVER (PARTITION BY account_id, bucket ORDER BY seq) AS running
			FROM entries) WHERE balance <> running`},
	{"entry does not follow the account's entry before it", `SELECT id AS entry, account_id AS account, previous, before
		FROM (SELECT id, account_id, previous, lag(seq, 1, 0) OVER (PARTITION BY account_id ORDER BY seq) AS before
			FROM entries) WHERE previous <> before`},
	{"wallet's last entry is not the account's newest", `SELECT account_id AS account, max(last_entry) AS last_entry,
		coalesce(max(seq), 0) AS newest
		FROM (SELECT account_id, last_entry, NULL AS seq FROM wallets UNION ALL SELECT account_id, NULL, seq FROM entries)
		GROUP BY account_id HAVING max(last_entry) <> coalesce(max(seq), 0)`},
	{"entry of an account that does not exist", `SELECT e.id AS entry, e.account_id AS account FROM entries e
		LEFT JOIN accounts a ON a.id = e.account_id WHERE a.id IS NULL`},

	{"operation and debit differ", settled("lease_id = '' AND (verdict = 'granted' OR (verdict = 'voided' AND credits > 0))",
		"kind = 'debit' AND bucket = 'spent'")},
	// Of what people had refunded before, less was left to reverse, or nothing.
	{"voided operation and its reversal differ", `SELECT * FROM (` + settled("lease_id = '' AND verdict = 'voided' AND credits > 0",
		"kind = 'void' AND bucket = 'available'") + `)
		WHERE found > expected OR entries > 1 OR account NOT IN (SELECT c.account_id FROM credits c WHERE c.kind = 'refund')`},
	{"unpaid operation and what was written off differ", settled("lease_id = '' AND verdict = 'unpaid' AND credits > 0",
		"kind = 'unpaid' AND bucket = 'written_off'")},
	{"operation and what was reserved differ", settled("lease_id <> ''", "kind = 'reserve' AND bucket = 'reserved'")},
	{"operation of another lease than its entries", `SELECT op_id AS op, min(lease_id) AS lease, max(lease_id) AS other
		FROM (SELECT op_id, lease_id FROM operations WHERE lease_id <> '' UNION ALL SELECT op_id, id FROM leases
			UNION ALL SELECT op_id, lease_id FROM entries WHERE lease_id <> '')
		GROUP BY op_id HAVING min(lease_id) <> max(lease_id)`},
	{"operation was answered with another balance than its debit left", `SELECT op_id AS op, min(account_id) AS account,
		sum(available) AS available, sum(balance) AS balance
		FROM (SELECT op_id, account_id, available, NULL AS balance FROM operations
			UNION ALL SELECT op_id, account_id, NULL, balance FROM entries
				WHERE (kind = 'debit' OR kind = 'reserve') AND bucket = 'available')
		GROUP BY op_id HAVING count(available) = 1 AND count(balance) = 1 AND sum(available) <> sum(balance)`},
	{"operation of a key that does not exist", `SELECT o.op_id AS op, o.account_id AS account, o.key_id AS "key"
		FROM operations o LEFT JOIN keys k ON k.id = o.key_id WHERE o.key_id <> '' AND k.id IS NULL`},
	{"operation of another account than its key", `SELECT o.op_id AS op, o.account_id AS account, k.account_id AS owner,
		o.key_id AS "key" FROM operations o JOIN keys k ON k.id = o.key_id WHERE k.account_id <> o.account_id`},

	// A lease's row is deleted some time after it closed; its entries stay.
	{"lease and its entries differ", leaseEntries("sum(leases) > 1 OR sum(reserved) <> sum(held) OR sum(leases) = 1 AND (sum(entries) = 0 " +
		"OR sum(reserve) <> sum(granted) OR sum(spent) < sum(charged) OR " +
		// More stays spent if people had refunded credits before they were to be given back.
		"sum(spent) > sum(charged) AND min(account_id) NOT IN (SELECT c.account_id FROM credits c WHERE c.kind = 'refund') OR sum(memo) > sum(unpaid) " +
		"OR min(account_id) <> max(account_id) OR min(key_id) <> max(key_id))")},
	{"lease left more unpaid than was written off", `SELECT lease_id AS lease, account AS account, unpaid, memo
		FROM (` + leaseEntries("sum(leases) = 1 AND sum(memo) < sum(unpaid)") + `)
		WHERE (SELECT w.written_off FROM wallets w WHERE w.account_id = account) < 9007199254740991`},
	{"lease of another account than its key", `SELECT l.id AS lease, l.account_id AS account, k.account_id AS owner,
		l.key_id AS "key" FROM leases l LEFT JOIN keys k ON k.id = l.key_id
		WHERE k.id IS NULL OR k.account_id <> l.account_id`},

	{"credits moved by people and their entries differ", `SELECT txn, min(account_id) AS account, sum(amount) AS amount,
		sum(delta) AS entries
		FROM (SELECT transaction_id AS txn, account_id, kind, amount, 0 AS delta, 1 AS moved, 0 AS entry FROM credits
			UNION ALL SELECT transaction_id, account_id, kind, 0, delta, 0, 1 FROM entries
				WHERE bucket = 'available' AND kind IN ('top_up', 'adjustment', 'refund'))
		GROUP BY txn HAVING sum(moved) <> 1 OR sum(entry) <> 1 OR sum(amount) <> sum(delta)
			OR min(account_id) <> max(account_id) OR min(kind) <> max(kind)`},
	{"entry of which more was refunded than it spent", `SELECT entry, sum(spent) AS spent, sum(refunded) AS refunded
		FROM (SELECT refunded_entry AS entry, account_id, 0 AS spent, amount AS refunded FROM credits
				WHERE refunded_entry IS NOT NULL
			UNION ALL SELECT id, account_id, delta, 0 FROM entries WHERE bucket = 'spent' AND delta > 0)
		GROUP BY entry HAVING sum(refunded) > sum(spent) OR sum(refunded) > 0 AND min(account_id) <> max(account_id)`},
	{"more was given back of an operation than it spent", `SELECT op, sum(spent) AS spent, sum(returned) AS returned
		FROM (SELECT refunded_op AS op, 0 AS spent, amount AS returned, 1 AS named FROM credits WHERE refunded_op IS NOT NULL
			UNION ALL SELECT op_id, delta, 0, 0 FROM entries WHERE bucket = 'spent' AND (kind = 'debit' OR kind = 'forfeit')
			UNION ALL SELECT op_id, 0, delta, 0 FROM entries WHERE bucket = 'available' AND (kind = 'void' OR kind = 'late_refund'))
		GROUP BY op HAVING sum(named) > 0 AND sum(returned) > sum(spent)`},
	{"closed account has credits available", `SELECT a.id AS account, w.available FROM accounts a
		JOIN wallets w ON w.account_id = a.id WHERE a.closed_us IS NOT NULL AND w.available > 0`},

	{"key of an account that does not exist", `SELECT k.id AS "key", k.account_id AS account FROM keys k
		LEFT JOIN accounts a ON a.id = k.account_id WHERE a.id IS NULL`},
	{"key of a project that is not its account's", `SELECT k.id AS "key", k.account_id AS account, k.project_id AS project
		FROM keys k LEFT JOIN projects p ON p.id = k.project_id AND p.account_id = k.account_id
		WHERE k.project_id IS NOT NULL AND p.id IS NULL`},
	{"key was replaced by none of its owner's", `SELECT k.id AS "key", k.replaced_by FROM keys k
		LEFT JOIN keys n ON n.id = k.replaced_by AND n.account_id = k.account_id AND n.id <> k.id
			AND coalesce(n.project_id, '') = coalesce(k.project_id, '')
		WHERE k.replaced_by IS NOT NULL AND n.id IS NULL`},
	{"key without exactly one newest secret", `SELECT k.id AS "key", count(d.digest) AS newest FROM keys k
		LEFT JOIN key_digests d ON d.key_id = k.id AND d.half = 'secret' AND d.not_after_us IS NULL
		GROUP BY k.id HAVING count(d.digest) <> 1`},
	{"key with the wrong number of newest publishable halves", `SELECT k.id AS "key", count(d.digest) AS newest FROM keys k
		LEFT JOIN key_digests d ON d.key_id = k.id AND d.half = 'publishable' AND d.not_after_us IS NULL
		GROUP BY k.id, k.project_id HAVING count(d.digest) <> (k.project_id IS NOT NULL)`},
	{"half of a key that does not exist", `SELECT d.key_id AS "key", d.half FROM key_digests d
		LEFT JOIN keys k ON k.id = d.key_id WHERE k.id IS NULL`},
	{"project of an account that does not exist", `SELECT p.id AS project, p.account_id AS account FROM projects p
		LEFT JOIN accounts a ON a.id = p.account_id WHERE a.id IS NULL`},
	{"proof of a domain that does not count as verified", `SELECT d.project_id AS project, p.domain_status AS status
		FROM domain_proofs d LEFT JOIN projects p ON p.id = d.project_id WHERE coalesce(p.domain_status, '') <> 'verified'`},
}

// leaseEntries asks for the leases, and what their entries add up to, of which the condition holds.
func leaseEntries(condition string) string {
	return fmt.Sprintf(`SELECT lease_id, min(account_id) AS account, sum(leases) AS leases, sum(granted) AS granted,
			sum(reserve) AS reserve, sum(held) AS held, sum(reserved) AS reserved, sum(charged) AS charged,
			sum(spent) AS spent, sum(unpaid) AS unpaid, sum(memo) AS memo
		FROM (SELECT id AS lease_id, account_id, key_id, 1 AS leases, 0 AS entries, granted,
				CASE state WHEN 'open' THEN granted - used ELSE 0 END AS held, used + forfeited - unpaid AS charged, unpaid,
				0 AS reserve, 0 AS reserved, 0 AS spent, 0 AS memo FROM leases
			UNION ALL SELECT lease_id, account_id, key_id, 0, 1, 0, 0, 0, 0,
				CASE WHEN kind = 'reserve' AND bucket = 'reserved' THEN delta ELSE 0 END,
				CASE bucket WHEN 'reserved' THEN delta ELSE 0 END, CASE bucket WHEN 'spent' THEN delta ELSE 0 END,
				CASE bucket WHEN 'written_off' THEN delta ELSE 0 END
			FROM entries WHERE lease_id <> '')
		GROUP BY lease_id HAVING %s`, condition)
}

// settled asks for operations and entries that contradict each other: every one of the operations has exactly one
// of the entries, over its credits and of its account and key, and every one of the entries has an operation. Both
// are put in one list and grouped, which takes one sort; a join would look through an account's entries for each of
// its operations.
func settled(operations, entries string) string {
	return fmt.Sprintf(`SELECT op_id AS op, min(account_id) AS account, sum(expected) AS expected, sum(found) AS found,
			sum(entry) AS entries
		FROM (SELECT op_id, account_id, key_id, credits AS expected, 0 AS found, 1 AS operation, 0 AS entry
				FROM operations WHERE %s
			UNION ALL SELECT op_id, account_id, key_id, 0, delta, 0, 1 FROM entries WHERE %s)
		GROUP BY op_id HAVING sum(expected) <> sum(found) OR sum(operation) <> 1 OR sum(entry) <> 1
			OR min(account_id) <> max(account_id) OR min(key_id) <> max(key_id)`, operations, entries)
}

// checkPublishables holds the publishable halves shown to people against those that are looked up.
func (v *verification) checkPublishables() error {
	rows, err := v.tx.QueryContext(v.ctx, `SELECT k.id, k.publishable, d.digest FROM keys k JOIN key_digests d
		ON d.key_id = k.id AND d.half = 'publishable' AND d.not_after_us IS NULL`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for !v.report.Truncated && rows.Next() {
		var id, text string
		var stored []byte
		if err := rows.Scan(&id, &text, &stored); err != nil {
			return err
		}
		if want := apikey.DigestOf(text).Stored(); string(stored) != string(want[:]) {
			v.add(fmt.Sprintf("publishable half shown is not the one looked up: key=%s", id))
		}
	}
	return rows.Err()
}
