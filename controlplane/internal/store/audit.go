package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// The kinds of what acts are done to.
const (
	kindAccount  = "account"
	kindProject  = "project"
	kindKey      = "key"
	kindCredit   = "credit"
	kindToken    = "token"
	kindBackup   = "backup"
	kindDatabase = "database"
	kindImport   = "import"
)

// act is one row of the audit log, but for who, when and under which request.
type act struct {
	// action is a kind and a verb, such as "key.rotate".
	action string
	// kind and id are the target's.
	kind, id string
	// accountID is the account that the target belongs to; empty where it belongs to none.
	accountID string
	// before and after are nil where there was or is nothing.
	before, after view
	reason        string
}

// view is what the audit log shows of a target. Only the types in audit_view.go are views, so that a look at that file
// tells that none can hold a secret.
type view interface{ view() }

// audit records that the present job's actor did a, in the transaction that does it. Every change that an admin can ask
// for calls it once it is made, and none where nothing changed. It returns ErrNoActor where the job's context names
// nobody.
func (tx *writeTx) audit(a act) error {
	if tx.actor.ID == "" {
		return fmt.Errorf("audit %s: %w", a.action, ErrNoActor)
	}
	before, err := marshalView(a.before)
	if err != nil {
		return fmt.Errorf("audit %s: %w", a.action, err)
	}
	after, err := marshalView(a.after)
	if err != nil {
		return fmt.Errorf("audit %s: %w", a.action, err)
	}
	id, err := tx.newID(prefixAct)
	if err != nil {
		return err
	}
	err = tx.InsertAct(tx.ctx, queries.InsertActParams{
		ID: id, AtUs: tx.now, ActorID: tx.actor.ID, ActorName: tx.actor.Name, ActorRole: string(tx.actor.Role),
		RequestID: tx.actor.RequestID, Action: a.action, TargetKind: a.kind, TargetID: a.id, AccountID: a.accountID,
		Before: before, After: after, Reason: a.reason,
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", a.action, err)
	}
	return nil
}

func marshalView(v view) (sql.NullString, error) {
	if v == nil {
		return sql.NullString{}, nil
	}
	text, err := json.Marshal(v)
	return sql.NullString{String: string(text), Valid: true}, err
}
