package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCreateAccount(t *testing.T) {
	w := newWorld(t)
	for _, status := range []AccountStatus{AccountPending, AccountActive, AccountDisabled} {
		got, _, err := w.CreateAccount(t.Context(), NewAccount{Name: "Ada & Söhne", Status: status}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := Account{ID: got.ID, Name: "Ada & Söhne", Status: status, CreatedAt: w.clock.Now(), UpdatedAt: w.clock.Now()}
		if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got.ID, "acct_") || len(got.ID) != len("acct_")+26 {
			t.Errorf("created %s (-want +got):\n%s", got.ID, diff)
		}
		read, err := w.Account(t.Context(), got.ID)
		if diff := cmp.Diff(got, read); diff != "" || err != nil {
			t.Errorf("read, %v (-created +read):\n%s", err, diff)
		}
		if got := w.mustWallet(got.ID); got != (Wallet{AccountID: read.ID}) {
			t.Errorf("wallet of a new account: %+v", got)
		}
	}
}

func TestBadAccounts(t *testing.T) {
	w := newWorld(t)
	for name, in := range map[string]NewAccount{
		"no name":           {"", AccountActive},
		"long name":         {strings.Repeat("a", MaxNameLen+1), AccountActive},
		"control character": {"a\x00b", AccountActive},
		"not UTF-8":         {"\xff", AccountActive},
		"no status":         {"Ada", ""},
		"unknown status":    {"Ada", "closed"},
	} {
		if _, _, err := w.CreateAccount(t.Context(), in, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if all, _, err := w.Accounts(t.Context(), Page{Limit: 10}); err != nil || len(all) != 0 {
		t.Errorf("%d accounts, %v; want none", len(all), err)
	}
	_, _, err := w.CreateAccount(t.Context(), NewAccount{"", "closed"}, nil)
	if err == nil || !strings.Contains(err.Error(), "name:") || !strings.Contains(err.Error(), "status:") {
		t.Errorf("error %v does not name both fields", err)
	}
}

func TestAccountTransitions(t *testing.T) {
	const pending, active, disabled = AccountPending, AccountActive, AccountDisabled
	allowed := map[[2]AccountStatus]bool{
		{pending, pending}: true, {pending, active}: true, {pending, disabled}: true,
		{active, active}: true, {active, disabled}: true, {disabled, active}: true, {disabled, disabled}: true,
	}
	w := newWorld(t)
	for _, from := range []AccountStatus{pending, active, disabled} {
		for _, to := range []AccountStatus{pending, active, disabled} {
			account := w.mustAccount(from)
			w.clock.Advance(time.Minute)
			got, err := w.UpdateAccount(t.Context(), account.ID, AccountUpdate{Name: ptr("Bea"), Status: &to})
			want := account
			if allowed[[2]AccountStatus{from, to}] {
				want.Name, want.Status, want.UpdatedAt = "Bea", to, w.clock.Now()
				if err != nil || got != want {
					t.Errorf("%s to %s: got %+v, %v; want %+v", from, to, got, err, want)
				}
			} else if !errors.Is(err, ErrInvalidTransition) {
				t.Errorf("%s to %s: got %v, want ErrInvalidTransition", from, to, err)
			}
			if read, err := w.Account(t.Context(), account.ID); err != nil || read != want {
				t.Errorf("%s to %s: read %+v, %v; want %+v", from, to, read, err, want)
			}
		}
	}
}

func TestUpdateAccountPartly(t *testing.T) {
	w := newWorld(t)
	account := w.mustAccount(AccountActive)
	w.clock.Advance(time.Minute)
	for name, in := range map[string]AccountUpdate{"nothing": {}, "same": {ptr("Ada"), ptr(AccountActive)}} {
		if got, err := w.UpdateAccount(t.Context(), account.ID, in); err != nil || got != account {
			t.Errorf("%s: got %+v, %v; want no change", name, got, err)
		}
	}
	for name, in := range map[string]AccountUpdate{"name": {Name: ptr("")}, "status": {ptr("Bea"), ptr(AccountStatus("x"))}} {
		if _, err := w.UpdateAccount(t.Context(), account.ID, in); !errors.Is(err, ErrInvalid) {
			t.Errorf("bad %s: got %v, want ErrInvalid", name, err)
		}
	}
	if got, err := w.Account(t.Context(), account.ID); err != nil || got != account {
		t.Errorf("after bad updates: %+v, %v; want %+v", got, err, account)
	}
	if _, err := w.UpdateAccount(t.Context(), "acct_absent", AccountUpdate{Name: ptr("Bea")}); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
	if _, err := w.Account(t.Context(), "acct_absent"); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
}

// A reader that follows pages sees every row that was there when it began once, newest first, whatever is added
// meanwhile.
func TestPagesAreStableUnderInserts(t *testing.T) {
	w := newWorld(t)
	var want []string
	for range 7 {
		want = append([]string{w.mustAccount(AccountActive).ID}, want...)
	}
	var got []string
	page, more := Page{Limit: 3}, true
	for more {
		var accounts []Account
		var err error
		if accounts, more, err = w.Accounts(t.Context(), page); err != nil {
			t.Fatal(err)
		}
		for _, a := range accounts {
			got = append(got, a.ID)
		}
		page.After = got[len(got)-1]
		w.mustAccount(AccountActive)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

func TestPageEnds(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.mustAccount(AccountActive)
	}
	for limit, want := range map[int]struct {
		rows int
		more bool
	}{1: {1, true}, 2: {2, true}, 3: {3, false}, 4: {3, false}, MaxPageLimit: {3, false}} {
		got, more, err := w.Accounts(t.Context(), Page{Limit: limit})
		if err != nil || len(got) != want.rows || more != want.more {
			t.Errorf("limit %d: %d rows, more %v, %v; want %+v", limit, len(got), more, err, want)
		}
	}
	for _, limit := range []int{-1, 0, MaxPageLimit + 1} {
		if _, _, err := w.Accounts(t.Context(), Page{Limit: limit}); !errors.Is(err, ErrInvalid) {
			t.Errorf("limit %d: got %v, want ErrInvalid", limit, err)
		}
	}
	if got, more, err := w.Accounts(t.Context(), Page{Limit: 3, After: "a"}); err != nil || len(got) != 0 || more {
		t.Errorf("after the oldest: %d rows, more %v, %v", len(got), more, err)
	}
}

// Lists are paged by id, so ids must sort in the order they were made.
func TestIDsAscend(t *testing.T) {
	last := ""
	for range 10_000 {
		id, err := newID("x_")
		if err != nil {
			t.Fatal(err)
		}
		if id <= last {
			t.Fatalf("%s was made after %s", id, last)
		}
		last = id
	}
}
