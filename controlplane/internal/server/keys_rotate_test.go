package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// verdict asks the gate endpoint for one credit under a new op_id.
func (f *fixture) verdict(t *testing.T, scheme string, halves ...string) api.Verdict {
	t.Helper()
	f.asked++
	body := acquireOK(t, f, messageOf(scheme, fmt.Sprintf("ask-%d", f.asked), 1, halves...))
	return decode[api.AcquireReply](t, answer{status: 200, body: body}, 200).Verdict
}

func (f *fixture) expect(t *testing.T, when string, want api.Verdict, scheme string, halves ...string) {
	t.Helper()
	if got := f.verdict(t, scheme, halves...); got != want {
		t.Errorf("%s: got %s, want %s", when, got, want)
	}
}

// The old secret works through the overlap, to its last microsecond, and the new one from the start.
func TestRotationOverlaps(t *testing.T) {
	f := newFixture(t)
	for _, overlap := range []time.Duration{0, time.Hour, 30 * 24 * time.Hour} {
		t.Run(overlap.String(), func(t *testing.T) {
			old := f.MustKey(t, f.account)
			a := f.do(t, "POST", "/v1/keys/"+old.ID+"/rotate", fmt.Sprintf(`{"overlap_seconds":%d}`, int(overlap.Seconds())))
			rotated := decode[key](t, a, 200)
			if rotated.ID != old.ID || rotated.Secret == nil || *rotated.Secret == old.Secret || !apikey.Genrex.Match(*rotated.Secret) {
				t.Fatal("want the same id and a new genrex secret")
			}
			secret := *rotated.Secret
			if rotated.Last4 != secret[len(secret)-4:] {
				t.Errorf("last4 %s is not the new secret's", rotated.Last4)
			}
			f.expect(t, "new at once", api.Granted, "genrex", secret)
			if overlap > 0 {
				f.expect(t, "old at once", api.Granted, "genrex", old.Secret)
				f.Clock.Advance(overlap - time.Microsecond)
				f.expect(t, "old at the end of the overlap", api.Granted, "genrex", old.Secret)
				f.Clock.Advance(time.Microsecond)
			}
			f.expect(t, "old after the overlap", api.InactiveKey, "genrex", old.Secret)
			f.expect(t, "new after the overlap", api.Granted, "genrex", secret)
		})
	}
}

func TestPairHalvesRotateApart(t *testing.T) {
	f := newPairFixture(t)
	scheme := vexrail(t)
	current := f.pair
	for _, tt := range []struct {
		body                string
		secret, publishable bool
	}{
		{`{}`, true, false},
		{`{"halves":"secret","overlap_seconds":60}`, true, false},
		{`{"halves":"publishable","overlap_seconds":60}`, false, true},
		{`{"halves":"both","overlap_seconds":60}`, true, true},
		{`{"halves":"both"}`, true, true},
	} {
		t.Run(tt.body, func(t *testing.T) {
			got := decode[key](t, f.do(t, "POST", "/v1/keys/{pair}/rotate", tt.body), 200)
			if got.ID != f.pair.ID || (got.Secret != nil) != tt.secret || (*got.PublishableKey != current.Publishable) != tt.publishable {
				t.Fatalf("got another change than asked for: %+v", got)
			}
			next := current
			next.Publishable = *got.PublishableKey
			if got.Secret != nil {
				next.Secret = *got.Secret
			}
			if !scheme.Secret.Match(next.Secret) || !scheme.Publishable.Match(next.Publishable) {
				t.Error("a half is not of the scheme's form")
			}
			f.expect(t, "new", api.Granted, "vexrail", next.Publishable, next.Secret)
			overlaps := strings.Contains(tt.body, "overlap")
			old := map[bool]api.Verdict{true: api.Granted, false: api.InactiveKey}[overlaps]
			f.expect(t, "old", old, "vexrail", current.Publishable, current.Secret)
			f.expect(t, "old publishable half with the new secret", map[bool]api.Verdict{true: api.Granted, false: old}[!tt.publishable], "vexrail", current.Publishable, next.Secret)
			f.Clock.Advance(time.Minute)
			f.expect(t, "old after the overlap", api.InactiveKey, "vexrail", current.Publishable, current.Secret)
			f.expect(t, "new after the overlap", api.Granted, "vexrail", next.Publishable, next.Secret)
			current = next
		})
	}
}

// A second rotation does not lengthen the life of what the first one ended.
func TestRotationsInARow(t *testing.T) {
	f := newFixture(t)
	rotate := func(seconds int) string {
		return *decode[key](t, f.do(t, "POST", "/v1/keys/{key}/rotate", fmt.Sprintf(`{"overlap_seconds":%d}`, seconds)), 200).Secret
	}
	second := rotate(10)
	third := rotate(1000)
	f.Clock.Advance(10 * time.Second)
	f.expect(t, "first", api.InactiveKey, "genrex", f.key.Secret)
	f.expect(t, "second", api.Granted, "genrex", second)
	f.expect(t, "third", api.Granted, "genrex", third)
}

func TestReplacement(t *testing.T) {
	f := newPairFixture(t)
	expires := f.Clock.Now().Add(time.Hour)
	for _, id := range []string{f.key.ID, f.pair.ID} {
		f.do(t, "PATCH", "/v1/keys/"+id, `{"name":"ci","environment":"staging","expires_at":"`+expires.Format(time.RFC3339)+`"}`)
	}
	// A compromised key has to be replaceable at any time.
	f.MustLapse(t, f.project)
	f.MustSetAccountStatus(t, f.account, "disabled")
	for _, tt := range []struct {
		name, id, scheme string
		halves           []string
	}{
		{"secret key", f.key.ID, "genrex", []string{f.key.Secret}},
		{"pair", f.pair.ID, "vexrail", []string{f.pair.Publishable, f.pair.Secret}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := decode[key](t, f.do(t, "GET", "/v1/keys/"+tt.id, ""), 200)
			f.Clock.Advance(time.Second)
			a := f.do(t, "POST", "/v1/keys/"+tt.id+"/replace", `{}`)
			got := decode[struct {
				key
				Replaces string
			}](t, a, 201)
			if got.ID == tt.id || got.Replaces != tt.id || got.Secret == nil {
				t.Fatalf("not a replacement of %s", tt.id)
			}
			want := before
			want.ID, want.Last4, want.Secret, want.PublishableKey = got.ID, got.Last4, got.Secret, got.PublishableKey
			want.CreatedAt, want.UpdatedAt = f.Clock.Now(), f.Clock.Now()
			if !cmp.Equal(got.key, want) {
				t.Errorf("the new key differs in more than its halves (-want +got):\n%s", cmp.Diff(want, got.key))
			}
			at := f.Clock.Now()
			before.Status, before.RevokedAt, before.UpdatedAt, before.ReplacedBy = "revoked", &at, at, &got.ID
			if old := decode[key](t, f.do(t, "GET", "/v1/keys/"+tt.id, ""), 200); !cmp.Equal(old, before) {
				t.Errorf("the old key (-want +got):\n%s", cmp.Diff(before, old))
			}
			f.expect(t, "old", api.InactiveKey, tt.scheme, tt.halves...)
			next := []string{*got.Secret}
			if got.PublishableKey != nil {
				next = []string{*got.PublishableKey, *got.Secret}
			}
			f.expect(t, "new", api.AccountNotActive, tt.scheme, next...)
			f.conflict(t, "POST", "/v1/keys/"+tt.id+"/replace", `{}`, "key_revoked")
			f.conflict(t, "POST", "/v1/keys/"+tt.id+"/rotate", `{}`, "key_revoked")
		})
	}
}

func TestExpiredKeys(t *testing.T) {
	f := newFixture(t)
	expires := f.Clock.Now().Add(time.Hour)
	made := decode[key](t, f.do(t, "POST", "/v1/keys",
		`{"account_id":"{account}","scheme":"genrex","name":"n","environment":"staging","expires_at":"`+expires.Format(time.RFC3339)+`"}`), 201)
	if made.Environment != "staging" || made.ExpiresAt == nil || !made.ExpiresAt.Equal(expires) {
		t.Errorf("created %+v", made)
	}
	f.Clock.Set(expires.Add(-time.Microsecond))
	f.expect(t, "before its end", api.Granted, "genrex", *made.Secret)
	f.Clock.Set(expires)
	f.expect(t, "at its end", api.InactiveKey, "genrex", *made.Secret)
	path := "/v1/keys/" + made.ID
	f.conflict(t, "POST", path+"/rotate", `{}`, "key_expired")
	f.conflict(t, "POST", path+"/replace", `{}`, "key_expired")
	if got := decode[key](t, f.do(t, "PATCH", path, `{"expires_at":null}`), 200); got.ExpiresAt != nil {
		t.Errorf("expires_at %v, want null", got.ExpiresAt)
	}
	f.expect(t, "without end", api.Granted, "genrex", *made.Secret)
	decode[key](t, f.do(t, "POST", path+"/rotate", `{}`), 200)
}

func TestExpiryForms(t *testing.T) {
	f := newFixture(t)
	now := f.Clock.Now()
	create := func(at string) request {
		return request{"POST", "/v1/keys", f.fill(`{"account_id":"{account}","scheme":"genrex","name":"n","expires_at":` + at + `}`), nil}
	}
	patch := func(at string) request {
		return request{"PATCH", f.fill("/v1/keys/{key}"), `{"expires_at":` + at + `}`, nil}
	}
	for _, at := range []string{
		`"` + now.Format(time.RFC3339) + `"`, `"2020-01-01T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"0000-01-01T00:00:00+23:59"`,
		`"9999-12-31T23:59:59-00:01"`, `"2030-01-02"`, `"2030-01-02 03:04:05Z"`, `"2030-01-02T3:04:05Z"`, `"2030-01-02T03:04:05"`,
		`"2030-01-02T03:04:05,5Z"`, `"2030-01-02t03:04:05z"`, `"2030-02-30T00:00:00Z"`, `"2030-01-02T24:00:00Z"`,
		`"2030-01-02T03:04:05+24:00"`, `"2030-01-02T03:04:05.0000000001Z"`, `""`, `"` + canary + `"`, `1893553445`, `{}`, `[]`, `true`,
	} {
		t.Run(at, func(t *testing.T) {
			f.refuses(t, create(at), 422, "body.expires_at")
			f.refuses(t, patch(at), 422, "body.expires_at")
		})
	}
	f.refuses(t, create("null"), 422, "body.expires_at")
	// What is hashed under an idempotency key has to be writable as JSON first.
	tooLate := create(`"9999-12-31T23:59:59-00:01"`)
	tooLate.header = keyed("k")
	f.refuses(t, tooLate, 422, "body.expires_at")
	for text, want := range map[string]time.Time{
		`"2030-01-02T03:04:05Z"`:                                       time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		`"2030-01-02T03:04:05.123456+02:00"`:                           time.Date(2030, 1, 2, 1, 4, 5, 123456000, time.UTC),
		`"9999-12-31T23:59:59Z"`:                                       time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		`"` + now.Add(time.Microsecond).Format(time.RFC3339Nano) + `"`: now.Add(time.Microsecond),
	} {
		for _, r := range []request{create(text), patch(text)} {
			a := send(t, f.ControlPlane, r)
			var got key
			if a.status < 300 {
				got = decode[key](t, a, a.status)
			}
			if got.ExpiresAt == nil || *got.ExpiresAt != want {
				t.Errorf("%s %s: got %d %v, want %v", r.method, text, a.status, got.ExpiresAt, want)
			}
		}
	}
}

// A repeated rotation or replacement does nothing more and shows no secret.
func TestKeyChangesAreReplayed(t *testing.T) {
	f := newPairFixture(t)
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{"/v1/keys/{key}/rotate", `{"overlap_seconds":60}`, 200},
		{"/v1/keys/{pair}/rotate", `{"halves":"both"}`, 200},
		{"/v1/keys/{key}/replace", `{}`, 201},
		{"/v1/keys/{pair}/replace", ``, 201},
	} {
		t.Run(tt.path, func(t *testing.T) {
			r := request{"POST", f.fill(tt.path), tt.body, keyed(tt.path)}
			first := decode[key](t, send(t, f.ControlPlane, r), tt.status)
			before := f.state(t)
			a := send(t, f.ControlPlane, r)
			again := decode[key](t, a, tt.status)
			if first.Secret == nil || again.Secret != nil || !strings.Contains(a.body, `"secret":null`) || a.header.Get("Idempotency-Replayed") != "true" {
				t.Error("want the secret in the first reply, null and Idempotency-Replayed in the second")
			}
			first.Secret = nil
			if !cmp.Equal(first, again) || f.state(t) != before {
				t.Errorf("the repetition differs or did something (-first +again):\n%s", cmp.Diff(first, again))
			}
			r.body = `{"overlap_seconds":61}`
			if strings.HasSuffix(r.path, "replace") {
				r.path, r.body = f.fill("/v1/keys/{pair}/rotate"), `{}`
			}
			a = send(t, f.ControlPlane, r)
			if p := wholeProblem(t, a); a.status != 422 || p.Code != "idempotency_key_reused" {
				t.Errorf("another request under the key: got %d %s", a.status, a.body)
			}
		})
	}
}

// A creation is repeated as it was even when its key has ended meanwhile, however its times are written.
func TestCreationWithExpiryIsReplayed(t *testing.T) {
	f := newFixture(t)
	body := `{"account_id":"{account}","scheme":"genrex","name":"n","expires_at":"2026-01-02T04:04:05%s"}`
	r := request{"POST", "/v1/keys", f.fill(fmt.Sprintf(body, "Z")), keyed("k")}
	first := decode[key](t, send(t, f.ControlPlane, r), 201)
	f.Clock.Advance(2 * time.Hour)
	r.body = f.fill(strings.Replace(fmt.Sprintf(body, "+01:00"), "T04", "T05", 1))
	if again := decode[key](t, send(t, f.ControlPlane, r), 201); again.ID != first.ID {
		t.Errorf("got %s, want %s", again.ID, first.ID)
	}
}
