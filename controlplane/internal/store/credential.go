package store

import (
	"database/sql"
	"fmt"
	"math"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// credential is what a request presents: a scheme, and the stored digests of one secret or of the two halves of a
// pair, publishable first.
type credential struct {
	scheme  string
	digests []apikey.Digest
}

// newCredential returns an error wrapping ErrInvalid, which repeats nothing of a digest that is none.
func newCredential(scheme string, digests []string) (credential, error) {
	c := credential{scheme: scheme, digests: make([]apikey.Digest, len(digests))}
	for i, text := range digests {
		wire, err := apikey.ParseDigest(text)
		if err != nil {
			return credential{}, fmt.Errorf("%w: digests[%d]: %w", ErrInvalid, i, err)
		}
		c.digests[i] = wire.Stored()
	}
	return c, nil
}

// text is what tells c from other credentials.
func (c *credential) text() string {
	text := c.scheme
	for i := range c.digests {
		text += string(c.digests[i][:])
	}
	return text
}

// lookup runs one of the prepared statements, for a reader or in the writer's transaction.
type lookup func(name statement, args ...any) (*sql.Rows, error)

// find reads the key that c presents as it is at now, in microseconds. It is in one statement even for a pair, so
// that both halves are seen in the same state of the database.
func (c *credential) find(look lookup, now int64) (subject, error) {
	var rows *sql.Rows
	var err error
	switch len(c.digests) {
	case 1:
		rows, err = look(stmtSecret, c.scheme, c.digests[0][:])
	case 2:
		rows, err = look(stmtPair, c.scheme, c.digests[0][:], c.digests[1][:])
	default:
		return subject{}, nil
	}
	if err != nil {
		return subject{}, err
	}
	defer rows.Close()
	var sub, publishable subject
	found := 0
	for ; rows.Next(); found++ {
		h, s, err := scanHalf(rows, now)
		if err != nil {
			return subject{}, err
		}
		if h == halfPublishable {
			publishable = s
		} else {
			sub = s
		}
	}
	if err := rows.Err(); err != nil || found < len(c.digests) {
		return subject{}, err
	}
	if len(c.digests) == 2 {
		sub.expires = min(sub.expires, publishable.expires)
		sub.live = sub.live && publishable.live
		sub.mixed = sub.keyID != publishable.keyID
	}
	return sub, nil
}

// find reads the key that c presents once in a batch, and its balances with all that the batch has moved.
func (tx *writeTx) find(c *credential) (subject, error) {
	presented := c.text()
	sub, known := tx.subjects[presented]
	if !known {
		var err error
		if sub, err = c.find(tx.rows, tx.now); err != nil {
			return subject{}, err
		}
		if sub.accountID != "" {
			tx.know(sub.accountID, sub.balances, sub.lastEntry)
		}
		tx.subjects[presented] = sub
	}
	if sub.accountID != "" {
		var err error
		if sub.balances, err = tx.balances(sub.accountID); err != nil {
			return subject{}, err
		}
	}
	return sub, nil
}

// subject is the key that a request presents, with its owners and wallet. The zero value is an unknown key.
type subject struct {
	keyID, projectID, accountID string
	// live: every half presented, and the key it belongs to, works now.
	live bool
	// mixed: the halves belong to different keys; the rest is then the secret half's.
	mixed bool
	// expires is when the key or a half of it stops working, in microseconds; math.MaxInt64 for never.
	expires int64
	// restriction is nil where there is none.
	restriction *restriction
	account     AccountStatus
	domain      DomainStatus
	balances    ledger.Balances
	// lastEntry is the seq of the account's newest entry.
	lastEntry int64
}

// scanHalf reads a row of selectHalf.
func scanHalf(rows *sql.Rows, now int64) (half, subject, error) {
	var (
		h                 half
		s                 subject
		notAfter, expires sql.NullInt64
		status            KeyStatus
		restriction       string
	)
	b := &s.balances
	err := rows.Scan(&h, &notAfter, &s.keyID, &status, &expires, &restriction, &s.projectID, &s.domain, &s.accountID, &s.account,
		&b.Funding, &b.Available, &b.Reserved, &b.Spent, &b.WrittenOff,
		&s.lastEntry)
	s.restriction = readRestriction(restriction)
	s.expires = math.MaxInt64
	for _, end := range []sql.NullInt64{notAfter, expires} {
		if end.Valid {
			s.expires = min(s.expires, end.Int64)
		}
	}
	s.live = status == KeyActive && now < s.expires
	return h, s, err
}

// verdict is the verdict on everything but credit.
func (s *subject) verdict(need Requirements) api.Verdict {
	switch {
	case s.keyID == "":
		return api.UnknownKey
	case s.mixed && s.live:
		return api.KeyPairMismatch
	case !s.live:
		return api.InactiveKey
	case s.account != AccountActive:
		return api.AccountNotActive
	case need.DomainVerified && s.domain != DomainVerified:
		return api.DomainNotVerified
	}
	return api.Granted
}
