package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
	"pgregory.net/rapid"
)

// twins are two stores to which the same happens. The first works as it does when it serves: whatever waits is one batch,
// and wallets and keys are remembered. The second does one thing at a time and remembers nothing.
type twins [2]*world

func newTwins(t testing.TB, terms LeaseOptions) *twins {
	t.Helper()
	tw := &twins{newWorldOf(t, terms), newWorldOf(t, terms)}
	must(t, tw[1].Close())
	tw[1].clock = tw[0].clock
	tw[1].reopen()
	return tw
}

// twinID is the id of the same thing in both.
type twinID [2]string

// call is something that is asked of both stores.
type call struct {
	// do asks it of one and says what came of it, with nothing in it that differs from one store to the other.
	do func(side int, w *world) string
	// ops are the operations that it is about.
	ops  []string
	name string
}

// together asks all of it of the first store at once, so that what it writes is one batch, and then of the second, in the
// order in which the first has done it. Both have to answer the same, but for answers about an operation that another of
// the calls is about, too: whoever asks at the same time may be told of it before or after.
func (tw *twins) together(rt *rapid.T, calls []call) {
	answers, order := tw[0].atOnce(calls)
	about := map[string]int{}
	for _, c := range calls {
		for _, op := range c.ops {
			about[op]++
		}
	}
	for _, i := range order {
		tw[1].forgetAll()
		answer := calls[i].do(1, tw[1])
		shared := false
		for _, op := range calls[i].ops {
			shared = shared || about[op] > 1
		}
		if answer != answers[i] && !shared {
			rt.Fatalf("%s (%d of %d, done in the order %v): in a batch %q, by itself %q", calls[i].name, i, len(calls), order, answers[i], answer)
		}
	}
}

// each asks it of both stores while nothing else is asked.
func (tw *twins) each(rt *rapid.T, name string, do func(side int, w *world) string) {
	tw.together(rt, []call{{do: do, name: name}})
}

// forgetAll has w remember neither wallets nor keys.
func (w *world) forgetAll() {
	w.writer.wallets.forget()
	w.writer.keys.Add(1)
}

// atOnce asks all of it while the writer is busy, and returns the answers and the order in which it was done: what needed
// no writer first.
func (w *world) atOnce(calls []call) (answers []string, order []int) {
	held, release := make(chan struct{}), make(chan struct{})
	hold := jobDoing(func(*writeTx) error {
		close(held)
		<-release
		return nil
	})
	must(w, w.writer.submit(hold))
	<-held
	answers = make([]string, len(calls))
	ended := make([]chan struct{}, len(calls))
	var queued []int
	for i := range calls {
		before := w.writer.length()
		ended[i] = make(chan struct{})
		go func() {
			defer close(ended[i])
			answers[i] = calls[i].do(0, w)
		}()
		if w.waits(ended[i], before) {
			queued = append(queued, i)
		} else {
			order = append(order, i)
		}
	}
	close(release)
	<-hold.done
	for i := range calls {
		<-ended[i]
	}
	return answers, append(order, queued...)
}

func (w *writer) length() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

// waits reports whether more than before wait for the writer, or else that the call has ended.
func (w *world) waits(ended chan struct{}, before int) bool {
	for {
		select {
		case <-ended:
			return w.writer.length() > before
		default:
			if w.writer.length() > before {
				return true
			}
			runtime.Gosched()
		}
	}
}

// kindOf names an error that both stores have to agree on.
func kindOf(err error) string {
	for _, e := range []error{
		ErrNotFound, ErrConflict, ErrInvalid, ErrAccountClosed, ErrBalanceLeft, ErrInvalidTransition, ErrAccountNotActive,
		ErrDomainNotVerified, ErrNotSpent, ErrRefundExceeds, ErrOpIDReused, ErrIdempotencyMismatch, ErrKeyRevoked, ErrKeyExpired,
		ledger.ErrBalanceLimit, ledger.ErrInsufficientCredits,
	} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	var bad BadRows
	if errors.As(err, &bad) {
		return bad.Error()
	}
	if err != nil {
		return "unexpected: " + err.Error()
	}
	return "done"
}

// twinState is all that has to be the same of an account in both stores, whatever its ids.
var twinState = []string{
	`SELECT 'wallet', w.funding, w.available, w.reserved, w.spent, w.written_off, a.status, a.closed_us FROM wallets w
		JOIN accounts a ON a.id = w.account_id WHERE a.id = ?1`,
	`SELECT 'operation', o.op_id, o.verdict, o.credits, o.available, o.ttl_ms, l.granted, l.used, l.state, l.final, l.draining,
		l.forfeited, l.unpaid, l.ends_us, l.closes_us, l.closed_us FROM operations o LEFT JOIN leases l ON l.id = o.lease_id
		WHERE o.op_id BETWEEN ?2 AND ?2 || 'z' AND o.account_id = ?1 ORDER BY o.op_id`,
	`SELECT 'key', name, last4, status, expires_us, restriction, revoked_us FROM keys WHERE account_id = ?1 ORDER BY id`,
	`SELECT 'usage', u.hour_us, u.route, u.conversation, sum(u.requests), sum(u.credits), sum(u.refused) FROM usage u
		JOIN keys k ON k.id = u.key_id WHERE k.account_id = ?1 GROUP BY 2, 3, 4 ORDER BY 2, 3, 4`,
	`SELECT 'day', u.day_us, u.route, sum(u.requests), sum(u.credits), sum(u.refused) FROM usage_days u
		JOIN keys k ON k.id = u.key_id WHERE k.account_id = ?1 GROUP BY 2, 3 ORDER BY 2, 3`,
}

// agree holds what is recorded in both stores of an account, and of its operations whose ids begin with ops, against each
// other.
func (tw *twins) agree(rt *rapid.T, account twinID, ops string) {
	for _, query := range twinState {
		if a, b := tw[0].stateOf(query, account[0], ops), tw[1].stateOf(query, account[1], ops); a != b {
			rt.Fatalf("in batches:\n%sone by one:\n%s", a, b)
		}
	}
	if a, b := tw[0].movements(account[0]), tw[1].movements(account[1]); a != b {
		rt.Fatalf("in batches:\n%sone by one:\n%s", a, b)
	}
}

// movements are the newest of an account, and what moved it: all but its ids.
func (w *world) movements(account string) string {
	out, err := w.Statement(context.Background(), StatementQuery{AccountID: account, Limit: 30})
	var text strings.Builder
	fmt.Fprintln(&text, kindOf(err), out.Opening, out.Closing, out.Next == nil)
	for _, m := range out.Movements {
		fmt.Fprintln(&text, m.Kind, m.OpID, m.Reason, m.IdempotencyKey, m.RefundedEntry != "", m.Deltas, m.Balances, m.CreatedAt)
	}
	return text.String()
}

func (w *world) stateOf(query, account, ops string) string {
	args := []any{account, ops}
	rows, err := w.readers.QueryContext(context.Background(), query, args[:min(2, 1+strings.Count(query, "?2"))]...)
	must(w, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(w, err)
	values, places := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	var text strings.Builder
	for rows.Next() {
		must(w, rows.Scan(places...))
		fmt.Fprintln(&text, values...)
	}
	must(w, rows.Err())
	return text.String()
}
